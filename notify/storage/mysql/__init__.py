"""The storage of the production path: MySQL, MariaDB and what speaks their protocol."""

from notify.storage.mysql.storage import MysqlStorage

__all__ = ["MysqlStorage"]
