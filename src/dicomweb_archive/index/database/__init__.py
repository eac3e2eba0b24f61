"""Database: connections and transactions, the tables and their migrations, and a private server for one machine."""
