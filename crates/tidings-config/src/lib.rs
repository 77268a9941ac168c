//! Configuration of a Tidings program: layers of TOML or YAML files, profile and environment, checked against one record per
//! key, where every value knows its place.
//!
//! ```
//! use tidings_config::Config;
//!
//! let config = Config::builder()
//!     .toml("tidings.toml", "[subscription.billing]\nretry = { attempts = 5, initial = \"200ms\" }\n")
//!     .env([("TIDINGS__SUBSCRIPTION__BILLING__RETRY__INITIAL", "1s")])
//!     .load()?;
//! let retry = config.subscription("billing").retry;
//! assert_eq!(retry.attempts.expect("it is set").origin.to_string(), "tidings.toml:2");
//! assert_eq!(retry.initial.expect("it is set").value, std::time::Duration::from_secs(1));
//! assert!(retry.max.is_none(), "nobody said anything about it");
//! # Ok::<(), tidings_config::ConfigError>(())
//! ```
//!
//! # Layers
//! Later wins: defaults, the program's code, `tidings.toml`, `tidings.<profile>.toml`, environment, arguments. This
//! crate reads what lies after the code; a value that nobody set is `None`, and whoever reads it adds code and
//! default. Keys are laid over each other one by one, so a layer may change `retry.attempts` and keep `retry.max`.
//!
//! YAML is taken like TOML: `tidings.yaml` or `tidings.yml` in place of `tidings.toml`, with the same keys and errors.
//!
//! # Placeholders
//! `${BANK_TOKEN}` inside a value of a file is replaced by the environment variable, `${PORT:8080}` by the variable or
//! that default; `$${` is a literal `${`. What a variable holds is not looked at again.
//!
//! # Environment
//! `TIDINGS__SUBSCRIPTION__BILLING__CONCURRENCY=8` sets `subscription.billing.concurrency`; `TIDINGS_URL` sets
//! `binder.main.url`; a variable that ends in `_FILE` names a file that holds the value, and that value is never printed.
//! Variables cannot spell every name, so case does not count in them, and `-`, `.` and `_` are alike; a variable that
//! fits two names is an error.
//!
//! # Mistakes
//! An unknown key, a value of the wrong type or out of range, and a name that the program does not have are errors that
//! say where, what was found, what is expected, and what was probably meant. All of them are reported at once.
//!
//! # Records
//! [`records`] holds one record per key. The check, the hints, [`reference_markdown`], [`json_schema`] for editors and
//! [`Config::effective`] are made from it.
//!
//! # Losing messages
//! No configuration loses messages without a key whose name begins with `lose_`: see [`KeyRecord::loses_messages`].
//!
//! # What it is not
//! It does not know which channels and subscriptions a program has ([`Config::check_names`] is told), and it does not
//! watch files: a change is read at the next start.
//!
//! # Limits
//! A file, and the text of a variable that holds a table, has at most 1 MiB. Names with two underscores in a row cannot
//! be written as variables.

mod builder;
mod check;
mod choice;
mod config;
mod effective;
mod environment;
mod error;
mod files;
mod hint;
mod human;
mod json_schema;
mod key;
mod layer;
mod mistake;
mod nearest;
mod node;
mod origin;
mod partitions;
mod placeholder;
mod record;
mod records;
mod redact;
mod reference;
mod rules;
mod schema;
mod section;
mod settings;
mod sources;
mod start;
mod store;
mod toml_source;
mod url;
mod value;
mod yaml_source;

pub use builder::ConfigBuilder;
pub use choice::{
    Cleanup, Create, DeadLetterHeaders, Existing, Fsync, Order, Ordering, RabbitmqAuth, RabbitmqExchangeType,
    RabbitmqOverflow, RabbitmqQueueType, SqlBehindLimit, SqlParkedKeys, SqlRelayMode, WhenFull,
};
pub use config::{Config, Section};
pub use effective::{Effective, EffectiveValues};
pub use error::ConfigError;
pub use json_schema::json_schema;
pub use nearest::nearest;
pub use origin::{Origin, Setting, Written};
pub use partitions::Partitions;
pub use record::{KeyRecord, Kind};
pub use records::records;
pub use redact::{Secret, redact_url};
pub use reference::reference_markdown;
pub use settings::{
    AppConfig, BinderConfig, ChannelConfig, ManageConfig, Properties, RabbitmqChannelConfig, RabbitmqConfig,
    RetryConfig, SqlConfig, SqlRelayConfig, SqlReplicationConfig, SubscriptionConfig,
};
pub use start::Start;
pub use url::BinderUrl;
