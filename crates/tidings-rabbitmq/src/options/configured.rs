//! The options that a configuration gives: [`ClientOptions::from_config`].

use super::configured_destination::{at_most_u16, at_most_u32, queue_type};
use super::{Auth, ClientOptions, WhenFull};
use crate::error::RabbitError;
use std::path::PathBuf;
use tidings_config::{BinderConfig, BinderUrl, RabbitmqAuth, RabbitmqConfig, Setting};
use tidings_core::BinderError;

impl ClientOptions {
    /// The servers of a URL with what a configuration says of their binder.
    ///
    /// # Errors
    /// [`BinderError::Open`] with the place in the configuration; no secret is in it.
    pub fn from_config(url: &BinderUrl, config: &BinderConfig) -> Result<Self, BinderError> {
        let failed = |reason: String| BinderError::Open {
            url: url.to_string(),
            reason,
        };
        let options = Self::from_url(url.expose()).map_err(|error| {
            let origin = config.url.as_ref().map(|url| format!(" ({})", url.origin));
            failed(format!("{}{}", of_url(error), origin.unwrap_or_default()))
        })?;
        let options = options.with_keys(config);
        options
            .check()
            .map_err(|error| failed(format!("{error}{}", origin(config))))?;
        Ok(options)
    }

    fn with_keys(mut self, config: &BinderConfig) -> Self {
        let keys = &config.rabbitmq;
        set(&mut self.heartbeat, &keys.heartbeat);
        set(&mut self.connect_timeout, &keys.connect_timeout);
        set(&mut self.close_timeout, &keys.close_timeout);
        set_as(&mut self.auth, &keys.auth, |auth| match auth {
            RabbitmqAuth::Plain => Auth::Plain,
            RabbitmqAuth::External => Auth::External,
        });
        let file = |key| value(key).map(PathBuf::from);
        self.tls.ca = file(&keys.tls_ca);
        self.tls.certificate = file(&keys.tls_certificate);
        self.tls.key = file(&keys.tls_key);
        let publishing = &mut self.publishing;
        set(&mut publishing.confirm_timeout, &keys.confirm_timeout);
        set(&mut publishing.message_timeout, &keys.message_timeout);
        set(&mut publishing.max_in_flight, &keys.max_in_flight);
        set(&mut publishing.max_in_flight_bytes, &keys.max_in_flight_bytes);
        set(&mut publishing.max_message_bytes, &config.max_message_bytes);
        set_as(
            &mut publishing.mandatory,
            &keys.lose_unroutable_messages,
            |lose| !lose,
        );
        publishing.when_full = when_full(config);
        self.with_consuming(keys)
    }

    fn with_consuming(mut self, keys: &RabbitmqConfig) -> Self {
        let consuming = &mut self.consuming;
        set_as(&mut consuming.prefetch, &keys.prefetch, at_most_u16);
        set_as(&mut consuming.queue_type, &keys.queue_type, queue_type);
        set(
            &mut consuming.single_active_consumer,
            &keys.single_active_consumer,
        );
        set_as(&mut consuming.delivery_limit, &keys.delivery_limit, |limit| {
            Some(at_most_u32(limit))
        });
        set(&mut consuming.longest_hold, &keys.longest_hold);
        set_as(&mut consuming.letter_bytes, &keys.letter_bytes, |bytes| {
            bytes as u64
        });
        self
    }
}

/// What a key says, if it says anything.
pub(super) fn value<T: Clone>(key: &Option<Setting<T>>) -> Option<T> {
    key.as_ref().map(|set| set.value.clone())
}

fn set<T: Clone>(to: &mut T, key: &Option<Setting<T>>) {
    set_as(to, key, |value| value);
}

fn set_as<T: Clone, U>(to: &mut U, key: &Option<Setting<T>>, of: impl FnOnce(T) -> U) {
    if let Some(value) = value(key) {
        *to = of(value);
    }
}

fn when_full(config: &BinderConfig) -> WhenFull {
    let wanted = config.when_full.as_ref().map(|wanted| wanted.value);
    let most = config.max_waiting_bytes.as_ref().map(|bytes| bytes.value);
    WhenFull::of_keys(wanted == Some(tidings_config::WhenFull::Refuse), most)
}

/// Where the keys of TLS are, of which one does not go with the others.
fn origin(config: &BinderConfig) -> String {
    let keys = &config.rabbitmq;
    let files = [&keys.tls_ca, &keys.tls_certificate, &keys.tls_key];
    let auth = keys.auth.as_ref().map(|auth| &auth.origin);
    let first = auth.or_else(|| files.into_iter().flatten().map(|file| &file.origin).next());
    first.map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// What is wrong with an address, which the error around it names.
fn of_url(error: RabbitError) -> String {
    match error {
        RabbitError::Url { reason, .. } => format!("{reason}; write amqp://user:password@host:5672/vhost"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidings_config::Config;

    fn read(toml: &str) -> Result<ClientOptions, String> {
        let config = Config::builder()
            .toml("t.toml", toml)
            .env::<&str, &str>([])
            .load();
        let binder = config.expect("the configuration itself is right").binder("main");
        let url = binder.url.clone().expect("it has an address");
        ClientOptions::from_config(&url.value, &binder).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_of_a_binder_reaches_the_clients() {
        let options = read(
            "[binder.main]\nurl = \"amqps://ada:pw@h1,h2:1/v\"\nmax_message_bytes = \"2MiB\"\nmax_waiting_bytes = \"1MiB\"\n\
             [binder.main.rabbitmq]\nheartbeat = \"3s\"\nconnect_timeout = \"4s\"\nclose_timeout = \"5s\"\n\
             confirm_timeout = \"6s\"\nmessage_timeout = \"7s\"\nmax_in_flight = 8\nmax_in_flight_bytes = \"9MiB\"\n\
             lose_unroutable_messages = true\nauth = \"external\"\ntls_ca = \"ca\"\ntls_certificate = \"crt\"\ntls_key = \"key\"\n",
        )
        .expect("every key is right");
        let seconds = Duration::from_secs;
        assert_eq!(
            (options.servers().as_str(), options.virtual_host()),
            ("h1:5671,h2:1", "v")
        );
        assert_eq!(
            (
                options.heartbeat(),
                options.connect_timeout(),
                options.close_timeout()
            ),
            (seconds(3), seconds(4), seconds(5))
        );
        let publishing = *options.publishing();
        assert_eq!(
            (publishing.confirm_timeout, publishing.message_timeout),
            (seconds(6), seconds(7))
        );
        assert_eq!(
            (publishing.max_in_flight, publishing.max_in_flight_bytes),
            (8, 9 << 20)
        );
        assert_eq!(
            (publishing.max_message_bytes, publishing.mandatory),
            (2 << 20, false)
        );
        assert_eq!(publishing.when_full, WhenFull::Wait { max_bytes: 1 << 20 });
        assert_eq!(options.auth(), Auth::External);
        let tls = options.tls();
        let files = [&tls.ca, &tls.certificate, &tls.key].map(|file| file.clone().unwrap_or_default());
        assert_eq!(files, ["ca", "crt", "key"].map(PathBuf::from));
        let refusing = read("[binder.main]\nurl = \"amqp://h\"\nwhen_full = \"refuse\"\n").expect("right");
        assert_eq!(refusing.publishing().when_full, WhenFull::Refuse);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_no_secret_is() {
        for (toml, words) in [
            (
                "url = \"amqp://ada:hunter2@h:x\"\n",
                ["\"x\" is no port", "(t.toml:2)"],
            ),
            (
                "url = \"amqp://ada:hunter2@h\"\nrabbitmq.tls_ca = \"f\"\n",
                ["write amqps:", "(t.toml:3)"],
            ),
            (
                "url = \"amqps://ada:hunter2@h\"\nrabbitmq.auth = \"external\"\n",
                ["tls_certificate", "(t.toml:3)"],
            ),
            (
                "url = \"amqps://ada:hunter2@h\"\nrabbitmq.tls_key = \"f\"\n",
                ["set both", "(t.toml:3)"],
            ),
        ] {
            let error = read(&format!("[binder.main]\n{toml}")).expect_err("refused");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
