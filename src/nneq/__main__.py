"""``python -m nneq`` is the command line."""

from nneq.cli import main

if __name__ == "__main__":
    main()
