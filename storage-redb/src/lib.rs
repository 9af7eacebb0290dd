//! storage-redb
