//! The contract tests of the layer: one suite, run against the real machine always and against the
//! simulated one with the feature `sim`.

#![allow(clippy::unwrap_used, reason = "claims are functions that the macro's tests call")]

mod clock;
mod disk;
mod durability;
mod names;
mod net;
mod reads;
mod rng;
#[cfg(feature = "sim")]
mod sim_only;
mod streams;
mod tasks;
mod world;

macro_rules! contract {
    ($($module:ident: $($claim:ident),+ $(,)?;)+) => {
        mod real {
            $(mod $module {
                $(#[test]
                fn $claim() {
                    crate::$module::$claim(&crate::world::RealWorld::new());
                })+
            })+
        }

        #[cfg(feature = "sim")]
        mod sim {
            $(mod $module {
                $(#[test]
                fn $claim() {
                    for seed in 0..crate::world::SEEDS {
                        crate::$module::$claim(&crate::world::SimWorld::new(seed));
                    }
                })+
            })+
        }
    };
}

contract! {
    disk:
        open_answers_by_what_is_there,
        a_directory_is_no_file,
        a_file_opened_for_reading_refuses_writes,
        pieces_are_written_in_order_whatever_their_number,
        later_writes_win,
        what_was_cut_off_never_comes_back,
        allocate_keeps_the_length_and_the_bytes,
        a_file_serves_many_tasks_at_once,
        a_dropped_write_is_done_or_never_begun,
        direct_io_moves_bytes_from_any_memory,
        direct_io_refuses_what_is_not_aligned,
        hints_of_any_range_are_accepted;
    reads:
        reads_append_and_end_with_nothing,
        read_full_at_copes_with_short_reads,
        cached_reads_give_what_is_there_or_nothing,
        bytes_given_out_stay_when_the_file_changes,
        a_map_shows_the_file_and_outlives_it,
        a_map_past_the_end_is_refused,
        read_file_is_bounded;
    names:
        create_dir_all_makes_parents_and_is_repeatable,
        read_dir_is_sorted_and_says_what_is_what,
        rename_replaces_a_file_and_moves_a_directory,
        an_open_file_survives_its_name,
        remove_dir_all_takes_all_below,
        what_is_missing_is_not_found,
        file_len_tells_missing_from_empty,
        a_lock_excludes_until_it_is_dropped,
        space_is_reported;
    durability:
        synced_bytes_and_names_survive,
        synced_length_survives,
        a_synced_rename_survives,
        an_unsynced_rename_shows_one_of_both_files_whole,
        a_synced_removal_survives,
        sync_dir_wants_a_directory;
    net:
        addresses_are_those_of_the_two_ends,
        a_port_is_taken_once,
        a_port_is_free_again_while_its_last_connections_fade,
        nobody_listening_is_refused,
        an_accept_that_is_dropped_loses_no_connection,
        datagrams_arrive_with_their_sender,
        a_longer_datagram_is_cut_to_the_buffer;
    streams:
        bytes_arrive_in_order_through_a_full_buffer,
        writing_faster_than_reading_would_block,
        slices_are_sent_in_order,
        a_dropped_read_loses_no_byte,
        a_read_without_room_is_refused,
        after_half_close_the_other_way_goes_on,
        a_half_that_is_dropped_ends_nothing,
        dropping_both_halves_ends_the_stream,
        unread_bytes_at_close_reset_the_peer,
        writing_to_a_closed_peer_fails_in_the_end,
        a_dedicated_task_connects_and_talks;
    clock:
        monotonic_time_never_goes_back,
        sleep_lasts_at_least_its_duration_everywhere,
        a_timeout_drops_what_is_late_and_passes_what_is_ready,
        wall_time_is_of_this_age;
    tasks:
        results_come_back_from_every_kind,
        panics_come_back_as_task_ends,
        a_panic_in_offloaded_work_reaches_its_caller,
        an_aborted_task_ends_cancelled,
        a_dedicated_task_is_not_aborted,
        a_task_runs_on_without_its_handle,
        offloaded_work_may_wait,
        offloaded_work_whose_caller_left_is_done_whole_or_not_begun;
    rng:
        draws_differ,
        fill_reaches_every_byte;
}
