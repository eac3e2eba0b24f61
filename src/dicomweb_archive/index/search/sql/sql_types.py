"""SQL types of parameters and results, each made once: SQLAlchemy adapts every instance to the driver anew."""

from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Double, Integer, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB

TEXT: Final = Text()
TEXTS: Final = ARRAY(TEXT)
NUMBER: Final[Double[Any]] = Double()
NUMBERS: Final = ARRAY(NUMBER)
INT: Final = Integer()
INTS: Final = ARRAY(INT)
LONG: Final = BigInteger()
LONGS: Final = ARRAY(LONG)
BYTES: Final = LargeBinary()
JSON: Final = JSONB()
JSONS: Final = ARRAY(JSON)
