//! `cargo xtask floors`: dependencies between our crates go strictly down.

use std::fmt;

use serde_json::Value;

use crate::Verdict;
use crate::cargo::{metadata, packages};
use crate::error::{XtaskError, no_arguments};

/// The floors from the ground up. A crate may only name crates of a lower floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    /// Nouns, traits and formats; they know no other crate of ours.
    Ground,
    /// Brokers and stores.
    Drivers,
    /// What runs handlers.
    Runtime,
    /// What users depend on.
    Facade,
    /// Test suites that are written against the facade, and the servers that tests run on.
    Suites,
    /// Programs; nothing depends on them.
    Programs,
    /// Automation: it neither names our crates nor is named by them.
    Outside,
}

/// Where each crate stands. A new crate is placed here.
const FLOORS: &[(&str, Floor)] = &[
    ("tidings-core", Floor::Ground),
    ("tidings-log", Floor::Ground),
    ("tidings-config", Floor::Ground),
    ("tidings-macros", Floor::Ground),
    ("tidings-embedded", Floor::Drivers),
    ("tidings-kafka", Floor::Drivers),
    ("tidings-rabbitmq", Floor::Drivers),
    ("tidings-claims", Floor::Drivers),
    ("tidings-sql", Floor::Drivers),
    ("tidings-runtime", Floor::Runtime),
    ("tidings-manage", Floor::Runtime),
    ("tidings", Floor::Facade),
    ("tidings-conformance", Floor::Suites),
    ("brokers", Floor::Suites),
    ("tidings-cli", Floor::Programs),
    ("shop", Floor::Programs),
    ("bench", Floor::Programs),
    ("chaos", Floor::Programs),
    ("xtask", Floor::Outside),
];

/// Prints every edge that does not go down.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    no_arguments("floors", arguments)?;
    let problems = problems(&metadata()?, FLOORS)?;
    for problem in &problems {
        eprintln!("error: floors: {problem}");
    }
    Ok(if problems.is_empty() {
        Verdict::Clean
    } else {
        Verdict::Failed
    })
}

/// A crate without a floor, or an edge that does not go down.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Unplaced {
        name: String,
    },
    NotDown {
        from: (String, Floor),
        to: (String, Floor),
    },
}

fn problems(metadata: &Value, floors: &[(&str, Floor)]) -> Result<Vec<Problem>, XtaskError> {
    let packages = packages(metadata)?;
    let names: Vec<&str> = packages.iter().map(name_of).collect::<Result<_, _>>()?;
    let floor_of = |name: &str| {
        floors
            .iter()
            .find(|(placed, _)| *placed == name)
            .map(|(_, floor)| *floor)
    };
    let mut problems = Vec::new();
    for (package, name) in packages.iter().zip(&names) {
        let Some(floor) = floor_of(name) else {
            problems.push(Problem::Unplaced {
                name: (*name).to_owned(),
            });
            continue;
        };
        for needed in ours_needed_by(package, &names)? {
            // A crate without a floor is reported once, by its own name.
            if let Some(below) = floor_of(needed).filter(|below| !floor.may_use(*below)) {
                problems.push(Problem::NotDown {
                    from: ((*name).to_owned(), floor),
                    to: (needed.to_owned(), below),
                });
            }
        }
    }
    Ok(problems)
}

/// The crates of ours that a package needs to be built; what only its tests need is free.
fn ours_needed_by<'a>(package: &'a Value, ours: &[&str]) -> Result<Vec<&'a str>, XtaskError> {
    let dependencies = package
        .get("dependencies")
        .and_then(Value::as_array)
        .ok_or_else(|| XtaskError::Metadata("a package without a list \"dependencies\"".into()))?;
    let mut needed = Vec::new();
    for dependency in dependencies {
        let name = name_of(dependency)?;
        let for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        if !for_tests && ours.contains(&name) {
            needed.push(name);
        }
    }
    Ok(needed)
}

fn name_of(value: &Value) -> Result<&str, XtaskError> {
    value
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| XtaskError::Metadata("a package or dependency without a name".into()))
}

impl Floor {
    fn may_use(self, other: Floor) -> bool {
        self != Floor::Outside && other < self
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Floor::Ground => "ground floor",
            Floor::Drivers => "floor of the drivers",
            Floor::Runtime => "floor of the runtime",
            Floor::Facade => "floor of the facade",
            Floor::Suites => "floor of the suites",
            Floor::Programs => "floor of the programs",
            Floor::Outside => "outside the house",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unplaced { name } => {
                write!(
                    formatter,
                    "{name} stands on no floor; place it in FLOORS in xtask/src/floors.rs"
                )
            }
            Problem::NotDown { from, to } => write!(
                formatter,
                "{} ({}) depends on {} ({}), which is not below it; move what both need to a lower crate, or make it a \
                 dev-dependency if only tests need it",
                from.0, from.1, to.0, to.1
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    fn told(packages: &[Value]) -> Vec<String> {
        let problems = problems(&json!({ "packages": packages }), FLOORS).unwrap();
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn dependencies_that_go_down_are_fine() {
        let packages = [
            package("tidings-core", &[("bytes", None)]),
            package("tidings-runtime", &[("tidings-core", None), ("tokio", None)]),
            package(
                "tidings",
                &[("tidings-runtime", None), ("tidings-core", Some("build"))],
            ),
        ];
        assert_eq!(told(&packages), Vec::<String>::new());
    }

    #[test]
    fn an_edge_upwards_or_along_a_floor_is_named_with_both_ends() {
        for kind in [None, Some("build")] {
            let packages = [
                package("tidings-core", &[("tidings-runtime", kind)]),
                package("tidings-runtime", &[]),
                package("tidings-log", &[("tidings-core", kind)]),
            ];
            let told = told(&packages);
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(told[0].starts_with(
                "tidings-core (ground floor) depends on tidings-runtime (floor of the runtime)"
            ));
            assert!(told[1].starts_with("tidings-log (ground floor) depends on tidings-core (ground floor)"));
        }
    }

    #[test]
    fn tests_may_use_any_floor() {
        let packages = [
            package("tidings-embedded", &[("tidings-conformance", Some("dev"))]),
            package("tidings-conformance", &[]),
        ];
        assert_eq!(told(&packages), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_a_floor_must_be_placed() {
        let packages = [
            package("tidings-attic", &[("tidings-core", None)]),
            package("tidings-core", &[]),
            package("tidings", &[("tidings-attic", None)]),
        ];
        let told = told(&packages);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("tidings-attic stands on no floor; place it in FLOORS"));
    }

    #[test]
    fn automation_neither_uses_our_crates_nor_is_used() {
        let packages = [
            package("xtask", &[("tidings-core", None)]),
            package("tidings-core", &[]),
            package("shop", &[("xtask", None)]),
        ];
        assert_eq!(told(&packages).len(), 2);
    }

    #[test]
    fn metadata_of_another_shape_is_an_error_and_no_pass() {
        let result = problems(&json!({ "packages": [{ "name": "tidings" }] }), FLOORS);
        assert!(matches!(result, Err(XtaskError::Metadata(_))));
        assert!(matches!(
            problems(&json!({}), FLOORS),
            Err(XtaskError::Metadata(_))
        ));
    }
}
