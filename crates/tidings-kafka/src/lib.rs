//! The driver for Apache Kafka of Tidings, on librdkafka.

mod admin;
mod background;
mod binder;
mod client;
mod error;
mod lock;
mod native;
mod options;
mod progress;
mod retry_topics;
mod security;
mod shared;
mod sink;
mod source;
mod transactions;
mod trimming;
mod trouble;

pub use admin::KafkaAdmin;
pub use binder::KafkaBinder;
pub use error::KafkaError;
pub use options::{ClientOptions, Existing, WhenFull};
#[cfg(feature = "oauth")]
pub use security::ClientCredentials;
#[cfg(feature = "msk-iam")]
pub use security::{AwsCredentials, AwsCredentialsSource, EnvironmentCredentials, MskIam};
pub use security::{Token, TokenError, TokenSource};
pub use sink::KafkaSink;
pub use source::KafkaSource;
