"""The command line: parse, one service call, render. Everything else lives below."""
