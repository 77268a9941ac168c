//! All layers laid over each other: [`Store`].

use crate::error::ConfigError;
use crate::key::{KeyPath, normal};
use crate::layer::{Found, FoundName, Layer};
use crate::node::{Entry, Node, NodeValue};
use crate::origin::Origin;
use crate::schema::{Place, Schema};
use crate::toml_source::read_value;
use std::collections::BTreeMap;

/// All layers laid over each other.
///
/// Names in files are exact. Names in variables are upper case with underscores, and which names exist is known only
/// when the app is: so what comes from outside is kept by the loose form of its path and found from the exact one.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) schema: Schema,
    files: BTreeMap<KeyPath, Found>,
    outside: BTreeMap<KeyPath, Found>,
    names: Vec<FoundName>,
    outside_names: Vec<FoundName>,
    sections: Node,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Schema::default())
    }
}

impl Store {
    pub(crate) fn new(schema: Schema) -> Self {
        let sections = Node::new(NodeValue::Table(Vec::new()), Origin::Default);
        Self {
            schema,
            files: BTreeMap::new(),
            outside: BTreeMap::new(),
            names: Vec::new(),
            outside_names: Vec::new(),
            sections,
        }
    }

    /// Lays a file over what is there.
    pub(crate) fn add_file(&mut self, layer: Layer) -> Vec<ConfigError> {
        self.files
            .extend(layer.found.into_iter().map(|found| (found.path.clone(), found)));
        self.names.extend(layer.names);
        for (_, entry) in layer.sections {
            let document = Node::new(NodeValue::Table(vec![entry]), Origin::Default);
            self.sections.overlay(document);
        }
        layer.errors
    }

    /// Lays variables, or arguments, over what is there. One of them must not say the same as another.
    pub(crate) fn add_outside(&mut self, layer: Layer) -> Vec<ConfigError> {
        let mut errors = layer.errors;
        let mut found = BTreeMap::new();
        for new in layer.found {
            let (key, origin) = (new.path.to_string(), new.origin.clone());
            if let Some(old) = found.insert(new.path.loose(), new) {
                errors.push(ConfigError::Conflict {
                    key,
                    first: old.origin,
                    second: origin,
                });
            }
        }
        self.outside.extend(found);
        self.outside_names.extend(layer.names);
        let mut seen: BTreeMap<KeyPath, Origin> = BTreeMap::new();
        for (path, entry) in layer.sections {
            let (key, origin) = (path.to_string(), entry.origin.clone());
            if let Some(first) = seen.insert(path.loose(), origin.clone()) {
                errors.push(ConfigError::Conflict {
                    key,
                    first,
                    second: origin,
                });
            } else if let Err(error) = insert(&mut self.sections, path.segments(), entry) {
                errors.push(error);
            }
        }
        errors
    }

    /// Variables whose name fits several names of the files.
    pub(crate) fn ambiguous(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for name in &self.outside_names {
            let mut fits: Vec<_> = self.names.iter().map(|known| &known.path).collect();
            fits.retain(|known| known.loose() == name.path.loose());
            fits.sort();
            fits.dedup();
            if fits.len() > 1 {
                let names = fits.iter().map(ToString::to_string).collect();
                errors.push(ConfigError::AmbiguousName {
                    origin: name.origin.clone(),
                    names,
                });
            }
        }
        errors
    }

    /// What holds for a key.
    pub(crate) fn get(&self, path: &KeyPath) -> Option<&Found> {
        self.outside.get(&path.loose()).or_else(|| self.files.get(path))
    }

    /// Every value that holds, by key, under the names of the files where they have one.
    pub(crate) fn effective(&self) -> Vec<(&KeyPath, &Found)> {
        let spelled = self
            .files
            .keys()
            .map(KeyPath::loose)
            .collect::<std::collections::BTreeSet<_>>();
        let mut all: Vec<_> = self
            .files
            .iter()
            .map(|(path, found)| (path, self.get(path).unwrap_or(found)))
            .collect();
        let other = self.outside.iter().filter(|(path, _)| !spelled.contains(path));
        all.extend(other.map(|(_, found)| (&found.path, found)));
        all.sort_by_key(|(path, _)| *path);
        all
    }

    /// The paths of all client properties in files.
    pub(crate) fn properties(&self) -> Vec<KeyPath> {
        let is_property = |path: &&KeyPath| matches!(self.schema.place(path), Place::Property(_));
        self.files.keys().filter(is_property).cloned().collect()
    }

    /// The properties of a client by name: `table` is the path of their table, its name as the app spells it.
    pub(crate) fn properties_of(&self, table: &KeyPath) -> Vec<(String, &Found)> {
        let files = self.files.keys().filter(|path| path.starts_with(table));
        let mut all: Vec<_> = files
            .filter_map(|path| Some((path.last().to_owned(), self.get(path)?)))
            .collect();
        for (path, found) in self
            .outside
            .iter()
            .filter(|(path, _)| path.starts_with(&table.loose()))
        {
            if !all.iter().any(|(known, _)| normal(known) == path.last()) {
                all.push((found.path.last().to_owned(), found));
            }
        }
        all
    }

    /// The names in files, each with the first place, and the names in variables that fit none of those.
    pub(crate) fn names(&self, section: &str) -> Vec<(&str, &Origin, NameKind)> {
        let here = |name: &&FoundName| name.path.segments().first().is_some_and(|first| first == section);
        let mut names: Vec<(&str, &Origin, NameKind)> = Vec::new();
        for name in self.names.iter().filter(here) {
            if !names.iter().any(|(known, _, _)| *known == name.path.last()) {
                names.push((name.path.last(), &name.origin, NameKind::Exact));
            }
        }
        for name in self.outside_names.iter().filter(here) {
            if !names
                .iter()
                .any(|(known, _, _)| normal(known) == normal(name.path.last()))
            {
                names.push((name.path.last(), &name.origin, NameKind::Loose));
            }
        }
        names
    }

    /// The origins of variables that set something for a name of that loose form.
    pub(crate) fn outside_origin(&self, section: &str, loose: &str) -> Option<&Origin> {
        let wanted = KeyPath::new([section, loose]);
        self.outside_names
            .iter()
            .find(|name| name.path.loose() == wanted)
            .map(|name| &name.origin)
    }

    /// A section of the program; none if nobody wrote it.
    pub(crate) fn section(&self, section: &str) -> Option<&Node> {
        match &self.sections.value {
            NodeValue::Table(entries) => entries
                .iter()
                .find(|entry| entry.key == section)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// All sections of the program.
    pub(crate) fn sections(&self) -> &Node {
        &self.sections
    }
}

/// How a name was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// In a file.
    Exact,
    /// In a variable: only its loose form counts.
    Loose,
}

/// Puts what a variable sets into the tree, under the keys as the files spell them.
fn insert(tree: &mut Node, path: &[String], entry: Entry) -> Result<(), ConfigError> {
    let Some((first, rest)) = path.split_first() else {
        tree.overlay(entry.node);
        return Ok(());
    };
    // A table that stands in a variable, `TIDINGS__SHOP__BANK={ … }`, is opened for what sets a part of it.
    if let NodeValue::Loose(text) = &tree.value
        && let Some(table) = read_value(text, &tree.origin)
    {
        *tree = table;
    }
    if !matches!(tree.value, NodeValue::Table(_)) {
        *tree = Node::new(NodeValue::Table(Vec::new()), entry.origin.clone());
    }
    let NodeValue::Table(entries) = &mut tree.value else {
        return Ok(());
    };
    let fits: Vec<String> = entries
        .iter()
        .map(|known| known.key.clone())
        .filter(|known| normal(known) == normal(first))
        .collect();
    if fits.len() > 1 {
        return Err(ConfigError::AmbiguousName {
            origin: entry.origin,
            names: fits,
        });
    }
    let index = match entries.iter().position(|known| fits.first() == Some(&known.key)) {
        Some(index) => index,
        None => {
            let node = Node::new(NodeValue::Table(Vec::new()), entry.origin.clone());
            entries.push(Entry {
                key: first.clone(),
                origin: entry.origin.clone(),
                node,
            });
            entries.len() - 1
        }
    };
    match entries.get_mut(index) {
        Some(known) => insert(&mut known.node, rest, entry),
        None => Ok(()),
    }
}
