//! The list of all cases, and [`suite!`](crate::suite), which makes a test of each.

use crate::stage::{Stage, Verdict};
use std::pin::Pin;

/// A case, given a fresh broker.
pub(crate) type Case = fn(Stage) -> Pin<Box<dyn Future<Output = Verdict>>>;

/// Makes a module of that name with one `#[test]` for each case of the suite. The second argument makes a fresh
/// [`Harness`](crate::Harness) for each: a function without arguments.
#[macro_export]
macro_rules! suite {
    ($name:ident, $fresh:expr) => {
        $crate::__each_case! { tests $name $fresh }
    };
}

/// Every case by its place in this crate. A case that is not listed here is dead code, which the compiler reports.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_case {
    ($($what:tt)*) => {
        $crate::__expand_cases! {
            [$($what)*]
            seam {
                publishing:
                    a_broker_says_what_it_can,
                    a_destination_is_made_once_and_never_changed,
                    a_receipt_resolves_to_the_position_where_the_message_is,
                    a_partition_keeps_the_order_of_the_calls,
                    a_key_has_the_partition_that_kafkas_java_client_would_choose,
                    messages_without_a_key_are_spread,
                    what_a_message_carries_arrives_as_it_was,
                    a_message_without_a_time_gets_that_of_its_publishing,
                    what_has_no_place_is_refused_and_not_published,
                    a_message_beyond_the_limit_is_refused_with_both_sizes,
                    a_message_is_published_also_when_its_receipt_is_dropped;
                reading:
                    a_named_group_begins_where_it_is_told_and_only_once,
                    a_group_that_began_at_the_latest_misses_nothing_after_a_restart,
                    a_reader_without_a_group_sees_all_partitions_and_stores_nothing,
                    a_reader_without_a_group_may_choose_its_partitions,
                    idle_is_told_once_each_time_everything_was_read,
                    a_paused_lane_gives_nothing_and_goes_on_where_it_was,
                    a_lane_that_seeks_goes_on_at_the_other_offset,
                    a_batch_keeps_its_size_and_a_larger_message_comes_alone,
                    lanes_take_turns,
                    a_batch_keeps_its_memory_while_others_come,
                    anybody_can_read_without_a_group,
                    a_time_leads_to_the_first_message_of_that_time,
                    positions_say_what_is_there,
                    several_destinations_are_read_by_one_member;
                groups:
                    every_group_sees_every_message,
                    members_share_the_partitions,
                    only_what_must_move_is_taken_and_comes_with_its_progress,
                    nothing_of_a_partition_is_given_before_its_old_member_let_go,
                    a_member_that_is_dropped_leaves_at_once_with_what_it_reported,
                    a_partition_and_its_retry_partition_always_move_together,
                    a_retry_destination_of_another_shape_is_refused,
                    members_that_come_and_go_never_share_a_partition_and_miss_nothing,
                    a_position_is_set_from_outside_only_while_nobody_reads,
                    groups_are_listed_with_their_positions_and_their_members,
                    a_position_that_is_deleted_makes_the_group_begin_anew;
                progress:
                    finished_ranges_and_attempts_come_back_with_the_next_member,
                    progress_of_another_epoch_is_ignored,
                    progress_is_stored_after_the_interval_or_so_many_messages,
                    a_member_that_closes_has_stored_everything,
                    groups_have_positions_of_their_own_in_each_destination;
                changing:
                    what_is_added_begins_at_its_first_message_and_what_is_removed_is_let_go,
                    a_reader_without_a_group_changes_what_it_reads_too,
                    a_member_that_reads_nothing_is_idle_until_there_is_something,
                    what_is_added_brings_its_retry_lane,
                    members_that_learn_of_a_destination_one_after_the_other_share_it;
                cancelling:
                    next_dropped_at_every_await_point_loses_nothing,
                    a_revocation_is_not_lost_by_a_dropped_next;
                delayed:
                    messages_for_later_come_when_they_are_due,
                    messages_for_later_outlive_a_crash_and_come_once,
                    a_broker_that_cannot_delay_says_so;
                restarts:
                    a_crash_loses_nothing_that_was_acknowledged_and_no_progress_that_was_committed,
                    a_close_keeps_everything,
                    an_epoch_is_never_given_twice_not_even_after_a_crash,
                    what_was_being_handled_when_a_process_died_is_known_until_it_is_finished,
                    a_second_owner_is_refused_while_the_first_lives,
                    a_reader_beside_the_owner_sees_what_comes_and_changes_nothing;
                storage:
                    what_is_old_goes_and_the_rest_can_be_read,
                    retention_by_size_never_takes_what_a_group_has_not_finished,
                    a_full_disk_refuses_clearly_and_goes_on_when_there_is_room,
                    after_a_failed_sync_nothing_is_acknowledged_and_health_says_so;
                closing:
                    a_closed_broker_answers_everything_with_that,
                    a_close_wakes_whoever_waits;
            }
            engine {
                handling:
                    every_message_is_handled_once_and_its_position_stored,
                    outputs_are_published_before_their_input_is_finished,
                    outputs_that_may_have_been_published_come_again_with_the_same_id,
                    outputs_of_a_message_that_is_handled_again_have_the_same_ids,
                    several_outputs_keep_their_order_and_go_where_they_say,
                    an_output_that_can_never_be_published_is_a_permanent_failure_of_its_input,
                    what_the_filter_refuses_is_finished_without_a_call,
                    one_handler_reads_several_channels,
                    a_payload_of_another_type_is_not_decoded,
                    every_publish_says_what_it_is_and_what_caused_it,
                    producers_publish_by_themselves,
                    a_panic_and_a_timeout_are_failures_and_the_subscription_goes_on;
                ordering:
                    a_key_keeps_its_order_through_failures_and_never_overlaps,
                    keys_run_beside_each_other_up_to_the_concurrency,
                    a_failed_key_does_not_stop_other_keys,
                    a_partition_keeps_its_order_and_partitions_run_beside_each_other,
                    without_an_order_messages_of_one_key_run_at_once,
                    messages_without_a_key_are_free,
                    handlers_in_tasks_of_their_own_keep_the_order_of_a_key;
                batches:
                    one_bad_item_does_not_condemn_its_batch,
                    a_batch_is_full_or_its_first_item_has_waited,
                    an_item_that_cannot_be_decoded_is_dead_and_the_others_are_handled,
                    a_call_that_fails_as_a_whole_is_tried_again_for_each_item,
                    items_of_a_key_that_failed_go_before_later_ones;
                acks:
                    a_message_is_finished_when_it_is_acknowledged_and_not_before,
                    a_nack_and_a_dropped_acknowledgement_are_failures,
                    a_rejected_message_is_dead_at_once;
                control:
                    pause_starts_nothing_more_at_once_and_resume_goes_on,
                    a_paused_subscription_starts_no_retries_either,
                    a_subscription_can_start_paused,
                    a_subscription_goes_on_where_it_is_told_and_finishes_first_what_runs,
                    what_waits_in_the_retry_lane_goes_on_waiting_when_its_partition_goes_elsewhere,
                    no_more_start_in_a_second_than_the_rate_says,
                    the_status_says_what_was_done;
                retries:
                    attempts_count_deliveries_and_back_off_is_as_configured,
                    durable_waits_are_as_long_as_short_ones,
                    jitter_stays_within_its_bounds_and_differs,
                    a_predicate_decides_what_is_tried_again,
                    later_is_no_attempt,
                    a_storm_of_retries_is_held_to_its_budget;
                waits:
                    a_long_wait_holds_its_key_and_nothing_else,
                    a_long_wait_outlives_its_process_with_the_order_of_its_key,
                    attempts_are_not_counted_from_the_start_again_after_a_crash,
                    a_wait_of_a_relaxed_order_is_overtaken,
                    many_behind_a_waiting_key_neither_fill_memory_nor_lose_their_order,
                    a_full_parking_lot_pauses_the_partition_and_loses_nothing,
                    with_the_order_of_a_partition_no_wait_is_durable_and_nothing_overtakes,
                    without_a_group_long_waits_stay_in_memory,
                    a_retry_lane_that_cannot_be_written_loses_nothing,
                    a_parked_message_that_is_back_before_its_receipt_leaves_the_subscription_idle;
                letters:
                    dead_letters_are_exactly_the_exhausted_and_the_permanent,
                    a_dead_letter_is_byte_identical_and_says_why,
                    a_dead_letter_goes_by_its_key_where_its_partition_is_missing,
                    a_dead_letter_in_springs_words_has_its_names_and_encodings,
                    a_letter_that_spring_wrote_is_understood_and_goes_back_to_its_group,
                    a_diagnosis_is_bounded,
                    the_largest_message_fits_into_the_dead_letters,
                    while_a_dead_letter_cannot_be_written_its_partition_waits,
                    a_killed_process_leaves_no_gap_between_a_dead_letter_and_its_position,
                    what_cannot_be_decoded_is_dead_at_once_and_never_loops,
                    a_handler_of_dead_letters_sees_each_with_its_diagnosis,
                    only_who_says_so_loses_exhausted_messages,
                    a_dead_letter_of_what_a_handler_published_keeps_its_id;
                redrive:
                    redriven_letters_reach_only_their_group_and_only_once,
                    redriven_messages_of_a_key_keep_their_order,
                    a_letter_that_fails_again_counts_its_redrives,
                    a_crash_between_sending_a_letter_back_and_remembering_it_sends_it_twice_with_one_id,
                    a_redrive_that_is_refused_sends_the_rest_later_and_nothing_twice;
                requests:
                    each_of_many_requests_gets_its_own_reply,
                    instances_of_an_app_each_get_their_own_replies,
                    a_reply_that_comes_too_late_is_counted_and_thrown_away,
                    who_asks_is_told_at_once_when_the_request_is_given_up,
                    a_reply_that_reaches_nobody_holds_up_nothing,
                    a_reply_of_another_shape_is_an_error_that_names_it,
                    open_requests_are_bounded_and_end_with_the_service;
                headers:
                    control_headers_from_outside_are_stripped_when_publishing,
                    forged_control_headers_in_a_channel_steer_nothing,
                    forged_control_headers_in_the_retry_lane_stay_within_their_range,
                    headers_of_other_systems_pass_unharmed;
                pressure:
                    what_is_received_and_not_finished_is_bounded,
                    large_messages_do_not_pile_up_in_memory,
                    a_slow_group_slows_only_itself,
                    a_stuck_partition_does_not_stop_the_other,
                    a_handler_that_is_always_ready_leaves_others_their_turn;
                draining:
                    a_drain_finishes_what_runs_and_stores_it,
                    a_drain_ends_at_its_deadline_and_what_was_cut_comes_again,
                    what_waits_for_its_next_attempt_does_not_hold_up_a_drain,
                    a_drain_waits_for_outputs_and_gives_up_those_of_a_broker_that_is_away,
                    a_drain_of_a_manual_acknowledgement_gives_the_message_back,
                    a_drain_keeps_its_deadline_when_the_broker_does_not_answer;
                rebalance:
                    a_polite_handover_loses_nothing_and_repeats_nothing,
                    work_of_a_revoked_partition_never_commits,
                    a_rebalance_within_a_back_off_skips_nothing,
                    a_membership_that_expired_is_taken_up_again,
                    nobody_is_paused_for_ever_after_a_storm_of_rebalances,
                    two_members_never_handle_one_key_at_once,
                    what_is_reported_of_a_partition_only_grows,
                    a_commit_that_hangs_while_lanes_move_stops_no_other_lane;
                faults:
                    progress_never_runs_ahead_of_what_is_finished,
                    progress_does_not_pass_a_dead_letter_that_is_not_kept,
                    a_batch_that_comes_twice_is_handled_once,
                    a_batch_of_a_membership_that_is_over_is_not_taken_for_one_of_the_next,
                    progress_that_is_lost_before_a_crash_means_duplicates_and_no_loss,
                    progress_that_cannot_be_stored_stops_no_handover,
                    a_broker_that_is_away_for_a_while_is_waited_for,
                    in_a_storm_of_failed_publishes_nothing_is_lost;
                patterns:
                    what_matches_is_read_also_what_comes_later,
                    what_appears_is_found_within_the_interval_and_read_from_its_first_message,
                    the_start_is_for_what_is_there_when_a_group_begins_and_for_nothing_later,
                    each_destination_has_a_retry_lane_and_dead_letters_of_its_own,
                    dead_letters_of_a_pattern_go_back_to_their_group,
                    a_handler_of_dead_letters_reads_those_of_every_match,
                    members_that_come_and_go_share_what_appears_and_lose_nothing,
                    what_cannot_be_read_is_said_and_stops_nothing_else;
                peers:
                    a_process_killed_within_a_handler_handles_the_message_again,
                    a_new_group_begins_at_the_earliest_message,
                    a_wait_longer_than_any_session_evicts_nobody,
                    whatever_a_handler_does_the_consumer_lives_or_health_says_that_it_does_not,
                    a_failed_message_is_never_taken_for_one_that_was_seen,
                    a_message_that_always_fails_does_not_loop_at_full_speed;
                restarts:
                    nothing_acknowledged_is_lost_by_crashes_of_the_whole_machine_room,
                    after_a_clean_end_nothing_comes_again,
                    redriven_and_parked_messages_outlive_a_crash,
                    a_service_on_a_closed_broker_ends_and_says_so;
                simulation:
                    nothing_is_lost_and_keys_keep_their_order_whatever_happens;
            }
        }
    };
}

/// Makes of the list what is asked for: the tests of a suite, or the table of the cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __expand_cases {
    (
        [tests $suite:ident $fresh:expr]
        $($layer:ident { $($module:ident: $($case:ident),+;)+ })+
    ) => {
        mod $suite {
            #[allow(unused_imports, reason = "what makes the harness may name nothing of its place")]
            use super::*;
            $(mod $layer {
                #[allow(unused_imports, reason = "as above")]
                use super::*;
                $(mod $module {
                    #[allow(unused_imports, reason = "as above")]
                    use super::*;
                    $(#[test]
                    fn $case() {
                        $crate::run(
                            concat!(module_path!(), "::", stringify!($case)),
                            concat!(stringify!($layer), "::", stringify!($module), "::", stringify!($case)),
                            $fresh,
                        );
                    })+
                })+
            })+
        }
    };
    (
        [table]
        $($layer:ident { $($module:ident: $($case:ident),+;)+ })+
    ) => {
        /// The cases by name.
        pub(crate) static CASES: &[(&str, Case)] = &[$($($(
            (
                concat!(stringify!($layer), "::", stringify!($module), "::", stringify!($case)),
                |stage: Stage| Box::pin($crate::$layer::$module::$case(stage)),
            ),
        )+)+)+];
    };
}

crate::__each_case! { table }
