"""`python -m quorate_cli`."""

from quorate_cli.main import main

if __name__ == "__main__":
    main()
