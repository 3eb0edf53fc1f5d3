"""The command's first breath: Ctrl-C is a plain line also during the second that the imports take."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from gradvitals_service.cli import main as run_command_line  # late, so that the try holds over its imports

        run_command_line()
    except KeyboardInterrupt:
        print("gradvitals-service: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
