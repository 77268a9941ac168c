//! `cargo xtask readme`: does what the README tells a stranger to do, and checks the answers.

mod block;
mod session;
mod shell;
mod shop;
mod step;

use std::path::Path;

use crate::Verdict;
use crate::cargo::{package_names, root};
use crate::error::{XtaskError, no_arguments};
use crate::readme::block::{Blocks, Check, blocks};
use crate::readme::session::Session;
use crate::readme::step::{Step, understand};

/// Checks the text, then runs every block that is marked as a session with the shop.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    no_arguments("readme", arguments)?;
    let plan = plan()?;
    if report(&plan.problems) == Verdict::Failed {
        return Ok(Verdict::Failed);
    }
    for (line, steps) in &plan.sessions {
        eprintln!("==> README.md:{line}: a session with the shop");
        Session::run(steps)?;
    }
    Ok(Verdict::Clean)
}

/// Checks what can be checked without running anything: every command of the README exists.
pub(crate) fn check_text() -> Result<Verdict, XtaskError> {
    Ok(report(&plan()?.problems))
}

fn report(problems: &[String]) -> Verdict {
    for problem in problems {
        eprintln!("error: {problem}");
    }
    if problems.is_empty() {
        Verdict::Clean
    } else {
        Verdict::Failed
    }
}

/// What is to be run, and what is wrong already.
#[derive(Debug, Default)]
struct Plan {
    /// The steps of each session with the line where its block starts.
    sessions: Vec<(usize, Vec<Step>)>,
    problems: Vec<String>,
}

fn plan() -> Result<Plan, XtaskError> {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).map_err(|source| XtaskError::File { path, source })?;
    let found = blocks(&text);
    let rust_is_compiled = found.rust == 0 || facade_includes_readme(&root().join("crates/tidings/src"))?;
    let mut plan = make_plan(found, &package_names()?);
    if !rust_is_compiled {
        plan.problems.push(
            "README.md: nothing compiles its Rust; include it in a documentation test of the crate tidings"
                .into(),
        );
    }
    Ok(plan)
}

fn make_plan(found: Blocks, packages: &[String]) -> Plan {
    let mut plan = Plan {
        problems: found.problems,
        ..Plan::default()
    };
    for block in found.shell {
        if let Check::Skip { reason } = &block.check {
            println!("SKIPPED README.md:{}: {reason}", block.line);
            continue;
        }
        let lines = match shell::commands(&block.text) {
            Ok(lines) => lines,
            Err(problem) => {
                plan.problems.push(format!("README.md:{}: {problem}", block.line));
                continue;
            }
        };
        let mut steps = Vec::new();
        for line in lines {
            match understand(&line.words, packages) {
                Ok(step) => steps.push(step),
                Err(problem) => plan
                    .problems
                    .push(format!("README.md:{}: {problem}", block.line + line.number)),
            }
        }
        if block.check == Check::Shop {
            plan.problems.extend(session_problem(block.line, &steps));
            plan.sessions.push((block.line, steps));
        }
    }
    if plan.sessions.is_empty() {
        plan.problems.push(
            "README.md: no block is marked `<!-- check: shop -->`, so its quick start is not run".into(),
        );
    }
    plan
}

/// A session must start the shop before it talks to it.
fn session_problem(line: usize, steps: &[Step]) -> Option<String> {
    let first = steps.iter().find(|step| !matches!(step, Step::Known));
    let starts = matches!(first, Some(Step::Start(_)));
    (!starts).then(|| {
        format!("README.md:{line}: a session with the shop begins with `cargo run --release -p shop`")
    })
}

/// Whether a source file of the facade pulls the README into its documentation tests.
fn facade_includes_readme(directory: &Path) -> Result<bool, XtaskError> {
    let file_error = |source| XtaskError::File {
        path: directory.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(directory).map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).map_err(|source| XtaskError::File { path, source })?;
            if text.contains("include_str!(\"../../../README.md\")") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(markdown: &str) -> Plan {
        make_plan(blocks(markdown), &["shop".to_owned()])
    }

    #[test]
    fn the_quick_start_becomes_a_session() {
        let plan = plan_of(
            "<!-- check: shop -->\n```sh\ncargo run --release -p shop   # all of it\ncurl -i -X POST \
             localhost:8080/orders -d '{}'\ncargo xtask test\n```\n",
        );
        assert_eq!(plan.problems, Vec::<String>::new());
        assert_eq!(plan.sessions.len(), 1);
        assert_eq!(plan.sessions[0].1.len(), 3);
    }

    #[test]
    fn a_wrong_command_is_named_with_its_line_in_the_readme() {
        let plan = plan_of("T\n<!-- check: shop -->\n```sh\ncargo run -p shop\n\ncargo xtask tests\n```\n");
        assert_eq!(plan.problems.len(), 1);
        assert!(
            plan.problems[0].starts_with("README.md:6: no `cargo xtask tests`"),
            "{:?}",
            plan.problems
        );
    }

    #[test]
    fn a_readme_without_a_session_or_with_one_that_starts_nothing_is_refused() {
        let plan = plan_of("only words\n");
        assert!(plan.problems[0].contains("its quick start is not run"));
        let plan = plan_of("<!-- check: shop -->\n```sh\ncurl localhost:8080/\n```\n");
        assert!(
            plan.problems[0].starts_with("README.md:3: a session with the shop begins"),
            "{:?}",
            plan.problems
        );
    }
}
