//! The rows, by group.

pub mod composite;
pub mod contract;
pub mod elementwise;
pub mod index;
pub mod layout;
pub mod leaf;
pub mod ordinary;
pub mod pam;
pub mod reduce;
