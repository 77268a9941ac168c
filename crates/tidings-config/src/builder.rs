//! Where a configuration is read from: [`ConfigBuilder`].

use crate::config::Config;
use crate::environment::Environment;
use crate::error::ConfigError;
use crate::files::{Format, check_profile};
use crate::key::{KeyPath, normal};
use crate::layer::Layer;
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::placeholder::expand;
use crate::schema::{Place, Schema};
use crate::sources::{Source, read_all};
use crate::store::Store;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Where a configuration is read from. Without any call it is `tidings.toml` (or `tidings.yaml`, `tidings.yml`) in the
/// current directory, if there is one, then `tidings.<profile>.toml`, then the environment of the process.
#[derive(Default)]
#[must_use = "nothing is read until load() is called"]
pub struct ConfigBuilder {
    directory: PathBuf,
    sources: Vec<Source>,
    profile: Option<String>,
    environment: Option<Vec<(OsString, OsString)>>,
    arguments: Vec<(String, String, String)>,
    schema: Schema,
}

impl ConfigBuilder {
    /// Reads this file instead of `tidings.toml`, and then the one of the profile beside it. It must exist. A file that
    /// ends in `.yaml` or `.yml` is YAML, any other TOML. Of several files later ones win.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(Source::File(path.into()));
        self
    }

    /// Reads this TOML text instead of `tidings.toml`; messages call it `name`.
    pub fn toml(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.sources.push(Source::Text {
            name: name.into(),
            text: text.into(),
            format: Format::Toml,
        });
        self
    }

    /// Reads this YAML text, as [`toml`](Self::toml) reads TOML.
    ///
    /// ```
    /// use tidings_config::Config;
    /// let config = Config::builder().yaml("tidings.yaml", "subscription:\n  billing:\n    concurrency: 16\n").load()?;
    /// let concurrency = config.subscription("billing").concurrency.expect("it is set");
    /// assert_eq!((concurrency.value, concurrency.origin.to_string().as_str()), (16, "tidings.yaml:3"));
    /// # Ok::<(), tidings_config::ConfigError>(())
    /// ```
    pub fn yaml(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.sources.push(Source::Text {
            name: name.into(),
            text: text.into(),
            format: Format::Yaml,
        });
        self
    }

    /// Looks for files in this directory and not in the current one.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Chooses a profile, whatever `TIDINGS_PROFILE` says. Its file must exist.
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// Takes these variables instead of the environment of the process.
    pub fn env<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.environment = Some(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// Sets a key from the command line, which wins over everything else. Messages call it by the argument's name.
    ///
    /// ```
    /// use tidings_config::Config;
    /// let config = Config::builder()
    ///     .argument("--data", "binder.main.url", "embedded:/var/lib/shop")
    ///     .load()?;
    /// let url = config.binder("main").url.expect("it was set");
    /// assert_eq!(url.origin.to_string(), "argument --data");
    /// # Ok::<(), tidings_config::ConfigError>(())
    /// ```
    pub fn argument(
        mut self,
        argument: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.arguments.push((argument.into(), key.into(), value.into()));
        self
    }

    /// Allows a section of the program's own, which it reads with [`Config::section`].
    ///
    /// # Panics
    /// If the name is that of one of Tidings' own sections.
    #[track_caller]
    pub fn allow_section(mut self, section: impl Into<String>) -> Self {
        let section = section.into();
        let known = Schema::default().place(&KeyPath::new([normal(&section)]));
        assert!(
            matches!(known, Place::Unknown),
            "the section {section:?} is one of Tidings' own; choose another name"
        );
        self.schema.sections.insert(section);
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and the cure; [`ConfigError::Several`] if more than one thing is wrong.
    pub fn load(self) -> Result<Config, ConfigError> {
        let (config, mistakes) = self.load_partly();
        mistakes.map(|()| config)
    }

    /// Reads everything and keeps what is right: for a program that reports more mistakes than those of the
    /// configuration before it stops. What is wrong is left out, as if nobody had said it.
    pub fn load_partly(self) -> (Config, Result<(), ConfigError>) {
        let variables = self.environment.unwrap_or_else(|| std::env::vars_os().collect());
        let mut environment = Environment::new(variables);
        let profile = self.profile.or_else(|| environment.profile());
        let mut errors = std::mem::take(&mut environment.errors);
        let mut store = Store::new(self.schema);
        if let Some(Err(error)) = profile.as_deref().map(check_profile) {
            errors.push(error);
        } else {
            for document in read_all(&self.directory, self.sources, profile.as_deref()) {
                match document {
                    Ok(mut document) => {
                        errors.extend(expand(&mut document, &environment.all));
                        errors.extend(store.add_file(Layer::document(&store.schema, document)));
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
        let layer = environment.layer(&store.schema, &store.properties());
        errors.extend(store.add_outside(layer));
        let layer = arguments(&store.schema, self.arguments);
        errors.extend(store.add_outside(layer));
        errors.extend(store.ambiguous());
        let config = Config::new(store, profile);
        errors.extend(crate::rules::check(&config));
        (config, ConfigError::gather(errors))
    }
}

fn arguments(schema: &Schema, arguments: Vec<(String, String, String)>) -> Layer {
    let mut layer = Layer::default();
    for (argument, key, value) in arguments {
        let origin = Origin::Argument {
            name: argument.into(),
        };
        let path = KeyPath::new(key.split('.'));
        let node = Node::new(NodeValue::Loose(value), origin.clone());
        layer.take(
            schema,
            path.clone(),
            Entry {
                key: path.last().to_owned(),
                origin,
                node,
            },
        );
    }
    layer
}

impl fmt::Debug for ConfigBuilder {
    /// Without texts and values, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("directory", &self.directory)
            .field("sources", &self.sources)
            .field("profile", &self.profile)
            .field("sections", &self.schema.sections)
            .finish_non_exhaustive()
    }
}
