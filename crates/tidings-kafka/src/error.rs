//! What can be wrong with the settings of a Kafka client: [`KafkaError`].

/// Why a Kafka client cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The address is not one of Kafka.
    #[error("\"{url}\" is no address of Kafka: {reason}; write kafka://host:9092,host:9092")]
    Url {
        /// The address without credentials.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The client has no such property.
    #[error("no Kafka property \"{name}\"{}", meant(nearest.as_deref()))]
    UnknownProperty {
        /// What was written.
        name: String,
        /// The nearest one that there is.
        nearest: Option<String>,
    },
    /// A property has a value that it cannot have.
    #[error("the Kafka property \"{name}\" cannot be {value}: {reason}")]
    BadValue {
        /// The property.
        name: String,
        /// The value; hidden where it is a secret.
        value: String,
        /// The client's words.
        reason: String,
    },
    /// A property that is not the user's to set.
    #[error("the Kafka property \"{name}\" cannot be set: {reason}")]
    Reserved {
        /// The property.
        name: String,
        /// Why, and what to use instead.
        reason: String,
    },
    /// The properties of TLS and SASL do not go together, or lack something.
    #[error("the connection to Kafka is not secured as it is meant to be: {reason}")]
    Security {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The client cannot be made of these properties.
    #[error("cannot set up the Kafka {role}: {reason}")]
    Client {
        /// What it is for.
        role: &'static str,
        /// The client's words.
        reason: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || ": see the list of librdkafka's properties".to_owned(),
        |nearest| format!(": did you mean \"{nearest}\"?"),
    )
}
