/*
 * A VFS of SQLite that writes a transaction into the WAL in one piece. SQLite itself writes each
 * page in two, and those system calls were the largest part of what a message cost.
 */
#pragma once

/* Its name, for sqlite3_open_v2(); built upon what is SQLite's default VFS then. */
const char *store_wal_vfs(void);
