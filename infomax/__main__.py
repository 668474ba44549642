"""``python -m infomax``."""

from infomax.command_line.main import command

command()
