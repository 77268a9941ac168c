//! The driver for Apache Kafka of Tidings, on librdkafka.

mod admin;
mod binder;
mod client;
mod error;
mod lock;
mod native;
mod options;
mod progress;
mod shared;
mod sink;
mod source;
mod trouble;

pub use admin::KafkaAdmin;
pub use binder::KafkaBinder;
pub use error::KafkaError;
pub use options::{ClientOptions, Existing, WhenFull};
pub use sink::KafkaSink;
pub use source::KafkaSource;
