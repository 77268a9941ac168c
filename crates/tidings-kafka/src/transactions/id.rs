//! The name of a member's transactions: [`transactional_id`].

/// The transactional id of a member of a group.
///
/// That a member which is out of its group commits nothing is the group's business: offsets go with the member's name
/// and generation. The id only has to be nobody else's. One that is the same after a restart lets the broker give up at
/// once what the process before has left open; with a new one each time, readers of what is committed wait for that
/// until its time is over. So it is made of what is given for the instance, if anything is:
/// `transactional.id`, or `group.instance.id`, which a member has for the same reason.
pub(crate) fn transactional_id(group: &str, subscription: &str, instance: Option<&str>) -> String {
    match instance {
        Some(instance) => format!("{group}-{subscription}-{instance}"),
        None => format!("{group}-{subscription}-{}", random()),
    }
}

/// A name that nobody else has.
pub(super) fn random() -> String {
    format!("{:016x}", fastrand::Rng::new().u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_transactional_id_and_without_one_no_two_members_share_theirs() {
        let named = || transactional_id("billing", "charge", Some("till-1"));
        assert_eq!(named(), "billing-charge-till-1");
        assert_eq!(named(), named());
        let other = || transactional_id("billing", "charge", None);
        assert!(other().starts_with("billing-charge-") && other() != other());
    }
}
