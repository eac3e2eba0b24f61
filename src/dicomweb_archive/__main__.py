"""python -m dicomweb_archive."""

from dicomweb_archive.cli.main import main

main()
