//! A configuration that has been read and checked: [`Config`].

use crate::builder::ConfigBuilder;
use crate::error::ConfigError;
use crate::key::{KeyPath, normal};
use crate::nearest::nearest;
use crate::node::{Node, NodeValue};
use crate::origin::{Origin, Setting};
use crate::settings::{AppConfig, BinderConfig, ChannelConfig, ManageConfig, SqlConfig, SubscriptionConfig};
use crate::store::{NameKind, Store};
use serde::de::DeserializeOwned;
use std::fmt;

/// A configuration that has been read and checked. Every value in it fits its record; each knows where it came from.
#[derive(Clone, Default)]
pub struct Config {
    store: Store,
    profile: Option<String>,
}

/// The sections that hold one table per name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[binder.<name>]`
    Binder,
    /// `[channel.<name>]`
    Channel,
    /// `[subscription.<name>]`
    Subscription,
}

impl Section {
    /// The word in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binder => "binder",
            Self::Channel => "channel",
            Self::Subscription => "subscription",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Config {
    pub(crate) fn new(store: Store, profile: Option<String>) -> Self {
        Self { store, profile }
    }

    /// Reads `tidings.toml` (or `tidings.yaml`, `tidings.yml`) in the current directory, if there is one, then
    /// `tidings.<profile>.toml` for the profile in `TIDINGS_PROFILE`, then the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and the cure.
    pub fn load() -> Result<Self, ConfigError> {
        Self::builder().load()
    }

    /// Reads from elsewhere.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Reads a text alone: no file, no environment. Messages call it `name`.
    ///
    /// ```
    /// use tidings_config::Config;
    /// let config = Config::from_toml("[subscription.billing]\nconcurrency = 16\n", "tidings.toml")?;
    /// let concurrency = config.subscription("billing").concurrency.expect("it is set");
    /// assert_eq!((concurrency.value, concurrency.origin.to_string().as_str()), (16, "tidings.toml:2"));
    /// # Ok::<(), tidings_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and the cure.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, ConfigError> {
        Self::builder().toml(name, text).env::<&str, &str>([]).load()
    }

    /// The profile that was chosen.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// What it says about the whole program.
    pub fn app(&self) -> AppConfig {
        AppConfig::read(&self.store, &KeyPath::new(["app"]))
    }

    /// What it says about the management address.
    pub fn manage(&self) -> ManageConfig {
        ManageConfig::read(&self.store, &KeyPath::new(["manage"]))
    }

    /// What it says about databases.
    pub fn sql(&self) -> SqlConfig {
        SqlConfig::read(&self.store, &KeyPath::new(["sql"]))
    }

    /// What it says about a binder.
    pub fn binder(&self, name: &str) -> BinderConfig {
        BinderConfig::read(&self.store, &KeyPath::new([Section::Binder.as_str(), name]))
    }

    /// What it says about a channel.
    pub fn channel(&self, name: &str) -> ChannelConfig {
        ChannelConfig::read(&self.store, &KeyPath::new([Section::Channel.as_str(), name]))
    }

    /// What it says about a subscription.
    pub fn subscription(&self, name: &str) -> SubscriptionConfig {
        SubscriptionConfig::read(&self.store, &KeyPath::new([Section::Subscription.as_str(), name]))
    }

    /// A section of the program's own, which [`ConfigBuilder::allow_section`] announced. If nobody wrote it, it is
    /// read as an empty table.
    ///
    /// ```
    /// use tidings_config::Config;
    /// #[derive(serde::Deserialize)]
    /// struct Shop {
    ///     http: std::net::SocketAddr,
    /// }
    /// let config = Config::builder()
    ///     .toml("tidings.toml", "[shop]\nhttp = \"127.0.0.1:8080\"\n")
    ///     .env([("TIDINGS__SHOP__HTTP", "127.0.0.1:9090")])
    ///     .allow_section("shop")
    ///     .load()?;
    /// assert_eq!(config.section::<Shop>("shop")?.http.port(), 9090);
    /// # Ok::<(), tidings_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`] with the key and its place, if the section does not fit `T` or has a key that `T` ignores.
    pub fn section<T: DeserializeOwned>(&self, section: &str) -> Result<T, ConfigError> {
        if !self.store.schema.sections.contains(section) {
            return Err(ConfigError::SectionNotAllowed {
                section: section.to_owned(),
            });
        }
        let empty = Node::new(NodeValue::Table(Vec::new()), Origin::Default);
        crate::section::read(
            self.store.section(section).unwrap_or(&empty),
            KeyPath::new([section]),
        )
    }

    /// The names that it configures in a section, each with the place where it does so first. Names that only
    /// variables set are lower case with underscores.
    pub fn names(&self, section: Section) -> Vec<Setting<String>> {
        let names = self.store.names(section.as_str());
        names
            .into_iter()
            .map(|(name, origin, _)| Setting::new(name.to_owned(), origin.clone()))
            .collect()
    }

    /// Checks that every configured name of a section is one of those that the program has.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest, and [`ConfigError::AmbiguousName`] for a variable whose name
    /// fits several of them; [`ConfigError::Several`] for more than one mistake.
    pub fn check_names(&self, section: Section, declared: &[&str]) -> Result<(), ConfigError> {
        let mut errors = Vec::new();
        for (name, origin, kind) in self.store.names(section.as_str()) {
            let known = |declared: &&&str| match kind {
                NameKind::Exact => **declared == name,
                NameKind::Loose => normal(declared) == normal(name),
            };
            if !declared.iter().any(|declared| known(&declared)) {
                errors.push(unknown_name(section, name, origin, declared));
            }
        }
        for (index, name) in declared.iter().enumerate() {
            let mut same: Vec<_> = declared
                .iter()
                .filter(|other| normal(other) == normal(name))
                .collect();
            same.sort();
            same.dedup();
            let first = declared.iter().position(|other| normal(other) == normal(name)) == Some(index);
            if same.len() > 1
                && first
                && let Some(origin) = self.store.outside_origin(section.as_str(), &normal(name))
            {
                let names = same
                    .iter()
                    .map(|name| KeyPath::new([section.as_str(), name]).to_string())
                    .collect();
                errors.push(ConfigError::AmbiguousName {
                    origin: origin.clone(),
                    names,
                });
            }
        }
        ConfigError::gather(errors)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

fn unknown_name(section: Section, name: &str, origin: &Origin, declared: &[&str]) -> ConfigError {
    ConfigError::UnknownName {
        key: KeyPath::new([section.as_str(), name]).to_string(),
        section,
        origin: origin.clone(),
        nearest: nearest(name, declared.iter().copied()).map(str::to_owned),
        valid: declared.iter().map(|name| (*name).to_owned()).collect(),
    }
}

impl fmt::Debug for Config {
    /// As [`describe`](Self::describe) tells it, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.describe();
        f.debug_map()
            .entries(
                all.iter()
                    .map(|set| (&set.key, format!("{} ({})", set.value, set.origin))),
            )
            .finish()
    }
}
