//! What a configuration promises, tried through its public interface.

mod effective;
mod environment;
mod files;
mod fuzz;
mod hostile;
mod loss;
mod mistakes;
mod names;
mod placeholders;
mod reference;
mod schema;
mod sections;
mod yaml;

use tidings_config::{Config, ConfigError};

/// An environment without variables.
const NOTHING: [(&str, &str); 0] = [];

/// What is wrong with a text.
fn mistake(text: &str) -> String {
    Config::from_toml(text, "tidings.toml")
        .expect_err(text)
        .to_string()
}

/// What a text says, with these variables.
fn with_env(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::builder()
        .toml("tidings.toml", text)
        .env(variables.iter().copied())
        .load()
}
