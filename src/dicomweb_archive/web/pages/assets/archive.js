// Makes pages quicker that already work without it: nothing here is needed to read, search or open a study.
