//! The real rows of the op table: their error, their values, their text.

mod common;
mod derivatives;
mod elementwise;
mod losses;
mod snapshots;
mod structured;
mod windows;
