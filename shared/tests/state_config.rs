//! What a state backend is opened with: ours by hand, and Teleport's own file.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "state_config/settings.rs"]
mod settings;
#[path = "state_config/teleport.rs"]
mod teleport;
