//! What an application may expect of the client, on the embedded cluster and on Apache Kafka.
//!
//! Every test is written once, as an `async fn(Cluster)`, and runs on each kind of cluster: `embedded` always, `kafka` with the
//! feature `real-kafka`, on the cluster that `KAFKA_BOOTSTRAP` names:
//!
//! ```sh
//! eval "$(testkit/kafka/kafka start)" && export KAFKA_BOOTSTRAP
//! cargo test -p testkit --features real-kafka --test behaviour
//! ```
//!
//! A difference between the two kinds is a defect of the embedded cluster, or of the test.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "behaviour/kinds.rs"]
mod kinds;

#[path = "behaviour/admin.rs"]
mod admin;
#[path = "behaviour/changed_logs.rs"]
mod changed_logs;
#[allow(dead_code, reason = "shared with another suite")]
#[path = "behaviour/cluster.rs"]
mod cluster;
#[path = "behaviour/commit_faults.rs"]
mod commit_faults;
#[path = "behaviour/commits.rs"]
mod commits;
#[path = "behaviour/connection.rs"]
mod connection;
#[path = "behaviour/coordinator_faults.rs"]
mod coordinator_faults;
#[path = "behaviour/cut_connections.rs"]
mod cut_connections;
#[allow(dead_code, reason = "shared with another suite")]
#[path = "behaviour/cuts.rs"]
mod cuts;
#[path = "behaviour/driven.rs"]
mod driven;
#[path = "behaviour/each_fault.rs"]
mod each_fault;
#[path = "behaviour/faults.rs"]
mod faults;
#[path = "behaviour/fetch.rs"]
mod fetch;
#[path = "behaviour/fetch_faults.rs"]
mod fetch_faults;
#[path = "behaviour/group_faults.rs"]
mod group_faults;
#[path = "behaviour/groups.rs"]
mod groups;
#[cfg(feature = "real-kafka")]
#[path = "behaviour/java_tools.rs"]
mod java_tools;
#[path = "behaviour/outages.rs"]
mod outages;
#[path = "behaviour/produce.rs"]
mod produce;
#[path = "behaviour/produce_faults.rs"]
mod produce_faults;
#[path = "behaviour/readers.rs"]
mod readers;
#[path = "behaviour/refusals.rs"]
mod refusals;
#[path = "behaviour/streaming.rs"]
mod streaming;

on_each_cluster! {
    admin: {
        a_deleted_topic_is_gone_and_its_successor_has_another_id,
        an_existing_topic_is_refused_and_its_neighbour_is_created,
        created_topics_are_described_in_the_order_asked_for,
        impossible_topics_are_refused_each_with_its_own_code,
        offsets_are_found_by_end_and_by_time,
        one_question_is_answered_for_partitions_of_several_leaders,
        the_cluster_lists_the_brokers_we_started_from,
        the_configuration_in_force_holds_what_was_set_and_the_defaults,
        whatever_is_asked_of_a_missing_topic_the_answer_names_it,
    }
    commits: {
        committed_offsets_are_found_by_the_next_member,
        only_commits_of_the_present_generation_count,
    }
    connection: {
        a_call_waits_until_brokers_take_connections_again,
        a_closed_client_fails_pending_and_later_calls,
        a_cut_connection_fails_what_waits_on_it_and_the_next_call_opens_another,
        a_request_is_understood_in_every_version_that_both_sides_speak,
        addresses_that_do_not_answer_are_named_once_the_time_is_up,
        an_answer_that_nobody_waits_for_disturbs_no_other,
        of_many_calls_in_flight_each_gets_its_own_answer,
        one_address_that_answers_is_enough,
        questions_are_answered_although_connections_are_cut_again_and_again,
    }
    cut_connections: {
        a_partition_writers_batches_are_written_once_and_in_order,
        a_reader_gets_every_record_once_and_in_order,
        sent_records_are_written_once_and_in_order,
    }
    fetch: {
        a_batch_larger_than_any_answer_may_be_fails_its_partition_and_no_other,
        a_batch_larger_than_the_limit_is_delivered,
        a_paused_partition_rests_until_it_is_resumed,
        a_reader_that_starts_at_the_end_is_told_so_by_an_empty_batch,
        a_topic_that_appears_later_is_read_from_its_first_record,
        a_waiting_fetch_is_woken_by_the_first_record,
        an_offset_outside_the_log_is_told_or_jumped_from,
        reading_starts_at_the_beginning_at_an_offset_or_at_the_end,
    }
    groups: {
        a_member_that_is_cut_off_stops_before_it_is_replaced_and_comes_back,
        a_member_that_leaves_hands_over_at_once,
        a_second_member_of_the_same_instance_fences_the_first,
        members_of_one_client_do_not_wait_for_each_other_and_one_too_many_gets_nothing,
        one_member_gets_every_partition_of_every_topic,
        two_members_share_equal_numbers_of_all_topics,
    }
    produce: {
        a_partition_writers_batches_are_acknowledged_in_order,
        on_log_append_time_topics_the_brokers_clock_counts,
        receipts_of_many_tasks_tell_where_each_record_is,
        records_come_back_as_they_were_sent,
        records_come_back_as_they_were_sent_in_lz4,
        records_come_back_as_they_were_sent_in_snappy,
    }
    readers: {
        a_closed_client_ends_every_reader_also_paused_ones,
        a_slow_reader_pauses_only_its_own_partition,
        two_fetchers_of_one_client_do_not_wait_for_each_other,
    }
    refusals: {
        a_full_buffer_holds_senders_back_until_there_is_room,
        a_missing_topic_and_a_missing_partition_are_named,
        a_record_larger_than_a_request_is_refused_before_it_is_sent,
        a_record_the_topic_does_not_take_fails_alone_and_the_error_names_its_size,
    }
}

on_the_embedded_cluster! {
    changed_logs: {
        a_compacted_log_is_read_over_its_gaps,
        a_topic_of_the_same_name_is_not_taken_for_the_one_that_was_deleted,
        records_lost_after_they_were_read_are_reported,
    }
    commit_faults: {
        a_commit_of_a_generation_that_is_over_is_not_taken_for_done,
        a_refused_commit_says_why_and_leaves_the_offset,
        commits_are_repeated_until_they_are_acknowledged,
        commits_behind_a_late_one_are_sent_as_one_and_never_overtake_it,
        look_ups_are_repeated_until_they_are_answered,
    }
    coordinator_faults: {
        a_coordinator_that_answers_nothing_ends_the_lease_in_time,
        heartbeats_that_fail_for_a_moment_cost_nothing,
    }
    faults: {
        a_broker_that_takes_requests_and_answers_nothing,
        brokers_that_refuse_connections_and_cut_the_ones_they_have,
        every_trouble_there_is_in_any_order,
        one_error_after_the_other_from_the_same_partition,
    }
    fetch_faults: {
        a_refusal_ends_the_partition_and_leaves_the_others,
        errors_of_a_partition_that_pass_are_waited_out,
        errors_of_the_fetch_session_only_begin_another,
        requests_and_answers_that_break_off_lose_nothing,
        requests_without_an_answer_or_with_a_late_one_lose_nothing,
    }
    group_faults: {
        a_coordinator_that_crashes_disturbs_nobody,
        a_coordinator_that_moves_again_and_again_disturbs_nobody,
        a_plan_that_does_not_arrive_is_made_anew,
        a_refusal_for_good_ends_the_membership_and_is_told,
        heartbeats_that_fail_are_repeated_or_begin_anew,
        joining_is_repeated_until_it_works,
        the_coordinator_is_looked_for_until_it_is_found,
        who_is_not_known_any_more_loses_everything_before_it_joins_anew,
    }
    outages: {
        a_broker_that_falls_silent_keeps_no_question_from_being_answered,
        a_leader_that_falls_silent_is_left_for_its_successor_while_records_are_read,
        a_leader_that_falls_silent_is_left_for_its_successor_while_records_are_sent,
        a_leader_that_was_always_silent_is_left_for_its_successor_at_once,
        a_whole_cluster_may_be_away_while_records_are_read,
        a_whole_cluster_may_be_away_while_records_are_sent,
        brokers_may_crash_one_after_the_other_while_records_are_read,
        brokers_may_crash_one_after_the_other_while_records_are_sent,
        every_broker_may_crash_at_once_while_records_are_sent,
        leaders_may_move_while_records_are_read,
        leaders_may_move_while_records_are_sent,
    }
    produce_faults: {
        a_producer_that_the_broker_forgot_goes_on,
        a_refusal_fails_its_records_alone_and_is_told,
        a_time_out_tells_what_the_last_attempt_met_and_where,
        errors_after_the_append_double_nothing,
        errors_that_pass_are_waited_out,
        records_whose_fate_is_unknown_are_told_apart_from_those_never_sent,
        requests_and_answers_that_are_late_double_nothing,
        requests_and_answers_that_break_off_double_nothing,
        requests_without_an_answer_are_repeated_and_double_nothing,
    }
}

#[cfg(feature = "real-kafka")]
on_apache_kafka! {
    java_tools: {
        java_reads_what_we_wrote,
        java_reads_what_we_wrote_in_lz4,
        java_reads_what_we_wrote_in_snappy,
        java_sees_the_offsets_we_commit_and_we_see_those_of_java,
        readers_of_committed_records_do_not_see_aborted_ones,
        we_read_what_java_wrote,
        we_read_what_java_wrote_in_lz4,
        we_read_what_java_wrote_in_snappy,
        what_java_wrote_in_a_codec_we_lack_is_an_error_that_names_it,
    }
}
