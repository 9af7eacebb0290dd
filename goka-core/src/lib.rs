//! goka-core
