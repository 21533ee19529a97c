//! A method for every row of the op table that a model may use.

mod elementwise;
mod layout;
mod norm;
mod window;

pub use window::Window;
