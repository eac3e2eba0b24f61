"""Jobs as rows: put into the queue, leased, resumed and listed."""
