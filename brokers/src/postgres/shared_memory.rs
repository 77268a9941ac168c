//! A small block of shared memory that PostgreSQL holds as long as it lives, and that stays when it is killed.

use std::path::Path;
use std::time::Duration;

use crate::error::BrokersError;
use crate::programs::{self, Run};

/// Gives back what a killed server left, which nobody would until the next boot. A server that is started from the same
/// directory does so by itself.
pub(crate) fn give_back(data: &Path) -> Result<(), BrokersError> {
    let record = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let blocks = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let Some((key, id)) = held(&record).filter(|(key, id)| is_unused(&blocks, key, id)) else {
        return Ok(());
    };
    let run = Run {
        program: programs::find(&programs::IPCRM)?,
        arguments: vec!["--shmem-id".into(), id.into()],
        variables: Vec::new(),
        directory: None,
        stdin: Vec::new(),
        deadline: Duration::from_secs(10),
        title: format!("ipcrm --shmem-id {id} (key {key})"),
    };
    run.run().map(drop)
}

/// Key and number of the block, which a server writes down on the seventh line of its record.
fn held(record: &str) -> Option<(&str, &str)> {
    let mut words = record.lines().nth(6)?.split_whitespace();
    Some((words.next()?, words.next()?))
}

/// Whether there is such a block and no process has it.
fn is_unused(blocks: &str, key: &str, id: &str) -> bool {
    blocks.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // key, shmid, perms, size, cpid, lpid, nattch
        fields.first() == Some(&key) && fields.get(1) == Some(&id) && fields.get(6) == Some(&"0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_block_that_nobody_has_is_given_back() {
        let record = "4711\n/data\n1790000000\n20001\n\n127.0.0.1\n  10166051         8\nready   \n";
        let (key, id) = held(record).unwrap();
        let blocks = |attached: u32| {
            format!(
                "       key      shmid perms   size  cpid  lpid nattch   uid\n  10166051          8   600     56  1  2      {attached}   103\n"
            )
        };
        assert!(is_unused(&blocks(0), key, id));
        assert!(!is_unused(&blocks(6), key, id));
        assert!(!is_unused(&blocks(0), key, "9"));
        assert_eq!(held("4711\n/data\n"), None);
    }
}
