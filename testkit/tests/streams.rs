//! What an application may expect of processors, views and emitters, on the embedded cluster and on Apache Kafka.
//!
//! Written and run as `behaviour` is: every test is an `async fn(Cluster)` and runs on each kind of cluster; those of
//! `embedded_only` need a broker that fails on command.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[allow(unused_macros, reason = "shared with another suite")]
#[path = "behaviour/kinds.rs"]
mod kinds;

#[path = "streams/app.rs"]
mod app;
#[path = "streams/bounded.rs"]
mod bounded;
#[path = "streams/changelog.rs"]
mod changelog;
#[allow(dead_code, reason = "shared with another suite")]
#[path = "behaviour/cluster.rs"]
mod cluster;
#[path = "streams/coalescing.rs"]
mod coalescing;
#[path = "streams/compaction.rs"]
mod compaction;
#[path = "streams/copartition.rs"]
mod copartition;
#[path = "streams/counting.rs"]
mod counting;
#[path = "streams/crash.rs"]
mod crash;
#[path = "streams/crash_points.rs"]
mod crash_points;
#[allow(dead_code, reason = "shared with another suite")]
#[path = "behaviour/cuts.rs"]
mod cuts;
#[path = "streams/damage.rs"]
mod damage;
#[path = "streams/emitting.rs"]
mod emitting;
#[path = "streams/errors.rs"]
mod errors;
#[path = "streams/faults.rs"]
mod faults;
#[path = "streams/history.rs"]
mod history;
#[path = "streams/invariants.rs"]
mod invariants;
#[path = "streams/lifecycle.rs"]
mod lifecycle;
#[path = "streams/outputs.rs"]
mod outputs;
#[path = "streams/rebalance.rs"]
mod rebalance;
#[path = "streams/recovering.rs"]
mod recovering;
#[path = "streams/refused.rs"]
mod refused;
#[path = "streams/trust.rs"]
mod trust;
#[path = "streams/under_fire.rs"]
mod under_fire;
#[path = "streams/views.rs"]
mod views;

on_each_cluster! {
    bounded: {
        callbacks_go_on_while_a_store_takes_seconds_to_write,
        offsets_are_committed_before_the_store_has_the_rows_but_not_without_bound,
    }
    coalescing: {
        a_coalesced_changelog_gets_the_last_value_of_each_interval,
        a_killed_process_with_a_coalesced_changelog_loses_nothing,
        rows_set_with_headers_keep_their_place_among_coalesced_ones,
        two_members_that_hand_over_coalesced_tables_count_exactly,
    }
    compaction: {
        a_store_that_was_away_for_less_reads_what_it_missed,
        a_store_that_was_away_for_longer_than_tombstones_live_is_rebuilt,
    }
    copartition: {
        a_partition_whose_other_input_is_missing_is_not_worked_off,
        inputs_of_one_number_are_always_worked_off_together,
    }
    counting: {
        a_deleted_row_is_gone_from_table_view_and_changelog,
        a_restart_goes_on_where_it_stopped_and_recovers_nothing,
        a_table_in_memory_counts_as_exactly_and_is_recovered_at_each_start,
        a_view_answers_only_once_it_has_recovered,
        counts_are_exact_in_table_view_changelog_and_offsets,
        without_its_state_everything_is_recovered,
    }
    damage: {
        a_full_disk_ends_the_run_and_names_the_file_and_loses_nothing,
        a_directory_serves_one_instance,
        damaged_files_are_set_aside_and_rebuilt,
    }
    errors: {
        a_callback_error_ends_the_run_and_names_the_record,
        a_failed_callback_leaves_no_effects_behind,
        a_missing_input_is_named,
        a_panic_ends_the_run_and_names_the_record,
        a_record_that_does_not_decode_ends_the_run_and_names_it,
        a_table_topic_that_would_lose_rows_is_refused,
        a_value_of_another_codec_is_an_error_of_the_view,
        inputs_with_unequal_partitions_are_refused_naming_both,
    }
    emitting: {
        a_full_buffer_says_so_and_has_room_again,
        a_missing_topic_is_named,
        a_record_too_large_for_the_topic_is_an_error_and_finish_counts_it,
        receipts_tell_where_records_are,
        records_of_a_key_keep_their_order_and_murmur2_is_a_choice,
    }
    invariants: {
        effects_are_written_in_the_order_of_records_and_calls,
        stores_are_prefixes_of_their_changelogs_after_an_abrupt_end,
        views_recovered_tables_and_the_fold_agree,
    }
    lifecycle: {
        a_dropped_processor_ends_in_order,
        a_processor_may_be_stopped_before_it_is_ready,
        a_row_of_another_instance_is_refused_and_its_partition_named,
        one_member_too_many_is_ready_without_partitions_and_steps_in,
        who_starts_at_the_end_counts_only_what_comes_then,
    }
    outputs: {
        a_loop_brings_records_to_the_rows_of_other_keys,
        a_stateless_graph_forwards_everything_in_order,
        emitted_records_lie_in_the_partition_of_their_key_with_their_headers,
        inputs_of_one_group_share_its_rows,
        tombstones_reach_nullable_inputs_and_are_skipped_elsewhere,
    }
    rebalance: {
        a_member_that_is_cut_off_is_replaced_and_comes_back,
        connections_cut_again_and_again_lose_and_double_nothing,
        members_that_come_and_go_leave_the_counts_exact,
    }
    recovering: {
        tables_too_large_for_their_part_recover_in_turns_and_within_bounds,
    }
    refused: {
        a_record_that_its_topic_refuses_ends_the_run_before_it_is_committed,
        a_record_that_no_request_can_carry_ends_the_run_and_names_its_cause,
        a_row_that_does_not_decode_ends_the_run_and_names_the_record,
    }
    crash: {
        a_process_that_was_paused_past_its_session_writes_nothing_more,
        a_second_process_on_the_same_directory_ends_and_says_why,
        a_member_that_slept_past_its_session_writes_nothing_more,
        a_killed_process_loses_nothing_and_its_store_is_a_prefix_of_the_changelog,
        when_one_of_two_processes_is_killed_the_other_goes_on_from_its_commits,
    }
    crash_points: {
        a_death_within_a_callback_is_made_good,
        a_death_between_writing_a_request_and_its_answer_is_made_good,
        a_death_on_the_answer_to_a_write_is_made_good,
        a_death_before_rows_are_stored_is_made_good,
        a_death_while_rows_are_stored_is_made_good,
        a_death_after_rows_were_stored_is_made_good,
        a_death_before_a_commit_is_made_good,
        a_death_on_the_way_of_a_commit_is_made_good,
        a_death_within_recovery_after_a_death_is_made_good,
        a_death_while_handing_over_is_made_good,
    }
    under_fire: {
        connections_that_live_for_a_second_lose_and_double_nothing,
        everything_a_network_does_at_once_loses_nothing,
        two_processes_killed_at_random_repeat_only_what_was_not_committed,
    }
    trust: {
        a_foreign_write_is_noticed_and_counts,
        a_longer_successor_of_the_table_topic_is_not_taken_for_it,
        a_table_topic_that_was_made_anew_makes_the_store_start_anew,
    }
    views: {
        a_missing_table_is_named,
        a_processor_and_two_views_share_one_directory,
        a_view_of_a_table_that_is_made_anew_starts_over,
        a_view_shows_any_topic_by_the_partitioner_that_wrote_it,
    }
}

on_the_embedded_cluster! {
    coalescing: {
        offsets_wait_for_coalesced_rows,
    }
    bounded: {
        records_wait_in_the_broker_while_an_output_takes_none,
        records_wait_in_the_broker_while_the_changelog_takes_none,
    }
    compaction: {
        a_compacted_changelog_gives_the_same_table,
        deletions_that_compaction_removed_are_not_undone_by_an_old_store,
    }
    emitting: {
        failures_are_told_at_the_end_although_receipts_were_dropped,
        records_of_a_key_keep_their_order_while_brokers_fail,
    }
    recovering: {
        small_tables_recover_while_large_ones_wait_for_their_turns,
        tables_that_nobody_serves_keep_no_room_from_the_others,
    }
    refused: {
        input_that_is_gone_before_it_was_read_ends_the_run_unless_it_may_be_skipped,
    }
    invariants: {
        effects_are_written_in_order_although_requests_fail,
        offsets_wait_for_what_their_records_emitted,
    }
    lifecycle: {
        a_start_without_brokers_is_an_error_that_names_them,
        a_stop_ends_although_no_broker_answers,
    }
    faults: {
        a_table_whose_creation_was_not_answered_is_used,
        crashing_brokers_and_moving_leaders_lose_nothing,
        nothing_is_committed_before_its_effects_are_acknowledged,
        topics_just_created_are_waited_for,
        without_heartbeats_nothing_is_written_after_the_session,
    }
    trust: {
        a_changelog_that_ends_in_removed_records_is_recovered,
        a_log_that_begins_past_the_checkpoint_makes_the_store_start_anew,
        a_log_that_lost_its_tail_makes_the_store_start_anew,
    }
    under_fire: {
        brokers_that_die_and_come_back_lose_and_double_nothing,
    }
    views: {
        a_view_follows_over_crashing_brokers_and_moving_leaders,
        while_one_partition_recovers_only_its_rows_are_refused,
    }
}
