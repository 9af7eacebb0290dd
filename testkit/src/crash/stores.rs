//! Stores that tell a trigger when rows are written.

use std::time::Duration;

use goka_core::storage::StoreError;

use super::{CrashPoint, Trigger};
use crate::hooked::WriteHook;

/// How long after the begin of an apply "inside" is; a small flush takes some hundred microseconds.
const INSIDE: Duration = Duration::from_micros(120);

impl WriteHook for Trigger {
    fn around(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.reached(CrashPoint::BeforeApply);
        self.reached_soon(CrashPoint::InsideApply, INSIDE);
        write()?;
        self.reached(CrashPoint::AfterApply);
        Ok(())
    }
}
