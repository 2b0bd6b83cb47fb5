"""`python -m backupd` is the command `backupd`."""

from backupd.cli.main import main

if __name__ == "__main__":
    main()
