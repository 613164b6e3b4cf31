//! What tests, examples and measurements of the dashboard share: a renderer without a GPU.
//!
//! Not part of the library: included by path, so that the program itself does not carry it.

mod soft_renderer;

pub(crate) use soft_renderer::SoftRenderer;
