"""`python -m localsynth` is the command `localsynth`."""

from localsynth.cli.main import main

if __name__ == "__main__":
    main()
