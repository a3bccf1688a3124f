"""Every row of ``docs/faults.md`` and every sentence of ``SECURITY.md`` names the tests that cause what it describes.

A new row or sentence gets an entry here. The names are those of test functions, or the reason why no test can show it.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = {  # the first cell of a row
    "kill -9, power cut": """
        tracking/test_resume: a_killed_run_resumes_with_the_same_command a_failed_run_resumes_with_the_same_losses
        io/test_atomic: a_writer_that_is_killed_leaves_the_old_file
        cli/test_other_data: resuming_with_another_vocabulary_is_refused
        cli/test_other_data: resuming_with_other_rows_of_the_same_words_is_refused
        tracking/test_resuming: another_length_is_refused_with_numbers a_stretched_schedule_follows_the_new_length
        tracking/test_resuming: a_continued_schedule_has_no_jump_and_resumes_again
        tracking/test_resuming: a_changed_rate_and_decay_take_effect_and_are_printed""",
    "Ctrl-C, SIGTERM, SIGHUP (a closed terminal) or SIGXCPU to any process": """
        tracking/test_processes: a_signal_to_one_process_stops_both_after_the_batch a_second_ctrl_c_ends_at_once
        tracking/test_processes: sigterm_to_a_run_with_loader_processes_interrupts_it
        tracking/test_resume: a_run_stopped_by_a_signal_resumes_at_the_next_batch
        tracking/test_resume: a_closed_terminal_and_used_up_time_interrupt_a_run
        tracking/test_leaving: output_to_a_closed_terminal_is_discarded""",
    "an error in one process, or its death": """
        tracking/test_processes: an_error_in_one_process_ends_both_and_is_printed both_processes_end_if_one_is_killed
        io/test_atomic: a_fault_while_writing_leaves_the_old_file""",
    "pre-emption under SLURM (`#SBATCH --signal=SIGUSR1@90`)": """
        tracking/test_resume: a_preempted_job_stops_is_requeued_and_resumes a_requeued_job_resumes_automatically""",
    "pre-emption elsewhere": """
        tracking/test_resume: auto_starts_a_run_or_resumes_an_unfinished_one""",
    "disk full, no permission": """
        tracking/test_resume: a_run_on_a_full_disk_names_the_file_and_resumes a_folder_without_write_permission_is_named
        io/test_atomic: a_full_disk_is_named_and_the_old_checkpoint_intact a_folder_without_the_right_to_write_is_named
        data/features/test_features: the_command_on_a_full_disk_says_so_and_can_be_repeated
        data/features/test_features: a_disk_that_fills_is_one_sentence_and_work_is_kept
        cli/test_hints: a_full_disk_or_missing_right_is_one_line
        tracking/test_run: a_record_that_cannot_be_written_keeps_its_status""",
    "a loss or gradient that is not finite": """
        tracking/test_resume: a_nan_loss_stops_the_run a_step_with_a_nan_loss_can_be_skipped
        tracking/callbacks/test_non_finite: a_nan_gradient_stops_the_run a_step_with_a_nan_gradient_is_skipped""",
    "an unreadable image": """
        cli/test_fit: a_missing_picture_is_named
        data/test_module: a_sample_without_a_readable_image_may_be_left_out it_is_an_error_otherwise
        data/test_module: an_error_in_mid_epoch_names_the_sample
        data/images/test_images: a_header_with_too_many_pixels_is_refused_first the_limit_of_pixels_is_configurable""",
    "an unreadable video, a playlist, a video of more than 216,000 frames": """
        data/datasets/test_clips: a_cut_video_is_refused a_video_without_its_last_part_is_refused
        data/datasets/test_clips: a_video_is_never_skipped a_playlist_opens_no_other_file
        data/datasets/test_clips: the_size_and_the_length_of_a_video_are_bounded""",
    "a misspelt key or class, a broken config": """
        cli/test_fit: a_misspelt_key_or_class_is_named_with_the_right_spelling
        cli/parsing/test_config_guard: a_config_that_is_no_config_is_named_with_its_line""",
    "a sweep killed at any moment": """
        sweep/test_running: a_restarted_sweep_kills_orphans_and_finishes
        sweep/test_running: a_trial_that_ends_without_its_sweep_is_not_run_again
        sweep/test_running: a_kill_while_a_trial_is_enqueued_again_loses_nothing""",
    "W&B unreachable": """
        tracking/test_wandb_faults: a_run_does_not_wait_for_a_dead_server all_data_is_on_disk_if_the_server_disappears
        tracking/test_wandb_faults: the_printed_command_sends_what_a_killed_run_has_written""",
    "kill -9 with W&B": """
        io/test_wandb_service: folders_of_a_killed_process_are_removed_by_the_next""",
    "a config that names foreign code, directly or in a file that it names": """
        cli/parsing/test_config_guard: a_config_runs_no_code nested_files_of_any_name_and_size_pass_the_gate
        cli/test_payload_commands: no_command_runs_what_a_file_names
        cli/test_allow: the_refused_command_is_answered_with_the_right_one
        cli/test_allow: a_module_that_was_allowed_once_needs_no_word""",
    "a damaged checkpoint": """
        checkpoints/test_archive: zeroed_bytes_within_a_weight_are_found a_small_change_never_leads_to_other_weights
        checkpoints/test_archive: resuming_skips_a_checkpoint_with_a_damaged_weight
        tracking/test_resume: auto_starts_a_run_or_resumes_an_unfinished_one""",
    "a checkpoint whose state does not fit the run (optimiser, loops, callbacks, random states)": """
        tracking/test_restoring: a_state_that_does_not_fit_is_one_sentence""",
    "a size that cannot be right, such as `dim: 1000000`": """
        cli/test_hints: a_width_beyond_the_memory_is_refused_before_it_is_used
        nn/test_size_limit: too_many_weights_are_refused_before_they_are_initialised too_many_layers_are_refused
        nn/test_size_limit: the_memory_of_the_machine_is_a_limit
        checkpoints/test_checkpoint: a_description_that_builds_nothing_is_refused""",
    "a number of loader processes above 512": "data/test_module: numbers_that_make_no_sense_are_refused",
    "a pipe or device instead of a file, of an image, or of a record": """
        io/test_endless_files: devices_and_pipes_of_others_are_refused
        cli/test_hints: a_pipe_instead_of_a_file_is_not_opened
        data/test_hostile_data: a_pipe_with_the_name_of_an_image_is_not_waited_for
        compare/test_broken_folders: a_pipe_or_folder_instead_of_a_file_is_not_read
        tracking/test_run: a_record_that_is_a_pipe_is_refused
        tracking/test_metrics_file: metrics_that_are_a_pipe_are_named
        sweep/test_running: state_that_is_a_pipe_is_not_waited_for
        io/allow/test_resolve: a_list_that_is_no_file_is_named_and_not_replaced""",
    "values of other types in a run folder, a table or predictions of another system": """
        compare/test_broken_folders: rows_of_other_types_are_named odd_files_are_named
        inspection/test_hostile_runs: any_change_of_a_record_is_verified_or_refused
        inspection/test_hostile_runs: any_change_of_a_prediction_is_verified_or_refused
        inspection/test_hostile_runs: a_run_to_import_like_may_hold_anything
        importing/test_hostile_imports: any_change_of_a_value_is_imported_or_refused
        cli/test_other_data: a_record_of_other_types_ends_an_evaluation_in_a_line
        tracking/test_metrics_file: damaged_metrics_of_a_resumed_run_are_named
        cli/test_hostile_tables: what_cannot_be_proposed_is_one_sentence
        sweep/test_running: a_trial_without_readable_figures_fails_and_others_run""",
    "a link in a folder of runs that leads elsewhere": """
        tracking/test_run: nothing_is_written_where_a_link_leads
        cli/test_other_data: an_evaluation_writes_nothing_where_a_link_leads
        cli/test_runs: runs_that_links_lead_to_are_never_removed""",
    "a chat template that loops, grows or reaches for code": """
        text/test_chat_template: a_template_runs_no_code_and_reads_no_file
        text/test_chat_template: a_template_that_takes_too_much_ends_in_a_sentence""",
    "a file that names a network address or a model of the hub": """
        cli/parsing/test_config_guard: addresses_need_the_word_of_the_command_line
        data/datasets/test_remote_data: nothing_is_opened_without_permission
        data/datasets/test_hub_names: nothing_is_asked_without_permission
        encoders/test_pretrained: a_hub_name_needs_the_word_of_the_command_line""",
    "a record or config of more than 64 MiB, another file of a run of more than 2 GiB": """
        compare/test_broken_folders: a_file_that_is_larger_than_memory_is_not_read
        inspection/test_hostile_runs: a_file_that_is_larger_than_memory_is_not_read
        cli/test_runs: a_record_that_is_larger_than_memory_is_unknown
        cli/test_hints: an_overlay_larger_than_memory_is_refused""",
    "an error that should be reported": """
        cli/test_hints: debug_prints_the_traceback_before_the_sentence""",
}
SENTENCES = {  # the first words of a sentence
    "A config or a checkpoint may name only classes": """
        cli/parsing/test_config_guard: functions_and_foreign_classes_are_refused
        cli/parsing/test_config_guard: an_allowed_class_of_another_kind_is_refused
        cli/parsing/test_config_guard: own_and_well_known_classes_need_no_word
        checkpoints/test_checkpoint: a_foreign_class_is_refused_unless_allowed""",
    "Functions, modules, instances": """
        io/allow/test_resolve: functions_are_allowed_by_their_full_name_only
        io/allow/test_resolve: a_class_reached_through_a_package_is_refused""",
    "The module of a name": "io/allow/test_resolve: nothing_is_imported_without_a_word",
    "This is checked where": """
        cli/test_payload_commands: no_command_runs_what_a_file_names
        cli/parsing/test_config_guard: nested_files_of_any_name_and_size_pass_the_gate""",
    "`--allow NAME` on any command": """
        io/allow/test_resolve: the_command_line_the_environment_and_the_list_allow""",
    "A function must be allowed": "io/allow/test_resolve: functions_are_allowed_by_their_full_name_only",
    "An entry of `velm allow`": """
        io/allow/test_resolve: a_changed_file_is_asked_for_again the_list_holds_from_other_folders_for_its_own
        io/allow/test_resolve: a_package_changes_with_any_of_its_files a_file_that_moves_within_a_package_is_a_change
        io/allow/test_resolve: a_package_with_a_linked_folder_is_refused
        io/allow/test_resolve: compiled_code_without_a_source_is_a_change""",
    "Compiled files": "io/allow/test_resolve: compiled_code_of_others_is_not_used",
    "No file of a project": "io/allow/test_resolve: files_of_a_project_allow_nothing",
    "The working directory is searched last": """
        io/allow/test_resolve: the_working_directory_hides_no_library the_folder_of_a_config_is_not_searched""",
    "**Sweep files** run": """
        sweep/test_program: other_programs_are_refused trainings_need_no_word a_program_is_allowed_by_its_name
        sweep/test_program: no_file_in_the_working_directory_hides_a_library""",
    "None of their commands": "sweep/test_program: a_sweep_file_allows_nothing macros_and_tuned_settings_allow_nothing",
    "**YAML** is read with limits": """
        io/test_yaml_files: what_is_refused_is_one_sentence_with_its_line a_file_is_regular_and_not_too_large""",
    "A key that is given twice": "io/test_yaml_files: what_is_refused_is_one_sentence_with_its_line",
    "**Checkpoints** are read": """
        checkpoints/test_checkpoint: code_in_a_file_is_refused_and_does_not_run
        checkpoints/test_checkpoint: a_description_that_builds_nothing_is_refused""",
    "One that holds more bytes": "checkpoints/test_archive: a_checkpoint_larger_than_the_memory_is_not_read",
    "A run that resumes removes": "io/test_atomic: only_checkpoints_of_the_own_folder_are_removed",
    "Arrow and Parquet tables": """
        data/test_hostile_data: a_damaged_arrow_table_is_refused a_damaged_archive_ends
        data/test_hostile_data: splits_of_a_saved_table_are_in_its_folder
        io/test_files: names_that_lead_out_of_the_root_are_refused any_name_is_within_the_root_or_refused
        inspection/test_hostile_runs: the_predictions_of_a_split_are_in_the_folder""",
    "No device is read": """
        io/test_endless_files: devices_and_pipes_of_others_are_refused
        io/test_endless_files: a_pipe_of_the_own_process_is_read_up_to_the_limit""",
    "Values of other types": """
        importing/test_hostile_imports: any_change_of_a_value_is_imported_or_refused
        data/test_hostile_data: a_stored_sample_of_other_types_is_refused""",
    "Nothing is written through": """
        cli/test_other_data: an_evaluation_writes_nothing_where_a_link_leads
        cli/test_runs: runs_that_links_lead_to_are_never_removed""",
    "Texts of files are printed": """
        io/test_terminal: a_hostile_text_is_shown_as_it_is_written what_is_printed_without_a_table_controls_nothing
        io/test_terminal: the_package_prints_by_no_other_function all_printing_goes_through_this_module""",
    "Names of files are quoted": "cli/test_hostile_tables: the_name_of_a_table_is_neither_yaml_nor_shell",
    "In reports, texts and names": """
        compare/test_browser: hostile_texts_are_texts
        compare/test_page: the_data_are_compressed_and_cannot_end_their_script the_page_loads_nothing_from_elsewhere
        compare/test_downloads: only_addresses_of_servers_are_links
        compare/test_texts_of_others: no_part_of_a_csv_cell_is_a_formula a_row_of_latex_begins_with_no_argument""",
    "**Chat templates** of models": """
        text/test_chat_template: a_template_runs_no_code_and_reads_no_file
        text/test_chat_template: a_template_that_takes_too_much_ends_in_a_sentence""",
    "A config names other configs": "cli/parsing/test_config_guard: no_config_is_looked_for_in_the_network",
    "On the command line, other addresses": """
        cli/parsing/test_config_guard: addresses_need_the_word_of_the_command_line
        io/allow/test_resolve: the_network_is_closed_on_the_command_line_unless_it_is_allowed
        encoders/test_pretrained: a_hub_name_needs_the_word_of_the_command_line
        encoders/image/test_torchvision_cnn: a_download_needs_the_word_of_the_command_line""",
    "Code that comes with a model": "encoders/test_pretrained: code_that_comes_with_a_model_never_runs",
    "Settings of W&B": "io/test_wandb_service: a_project_cannot_name_the_server_that_gets_the_key",
}


def rows():
    """Return the first cells of the table."""
    lines = (ROOT / "docs" / "faults.md").read_text("utf-8").splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]


def sentences():
    """Return the sentences of the section on what is not trusted, without the names of its paragraphs."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    section = text.partition("## What is not trusted\n")[2].partition("\n## ")[0]
    paragraphs = [" ".join(part.split()) for part in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]
    found = [sentence for part in paragraphs for sentence in re.split(r"(?<=\.) (?=[A-Z`])|(?<=\.\*\*) ", part)]
    return [sentence for sentence in found if not re.fullmatch(r"\*\*[^*]+\.\*\*", sentence)]


@cache
def functions(file):
    """Return the names of the tests in a file."""
    source = ast.parse((ROOT / "tests" / f"{file}.py").read_text("utf-8"))
    return {node.name for node in ast.walk(source) if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_fault_table_is_caused_by_tests():
    assert rows() == list(ROWS)


def test_every_sentence_on_what_is_not_trusted_is_tested():
    starts = list(SENTENCES)
    assert [next((start for start in starts if each.startswith(start)), each) for each in sentences()] == starts


@pytest.mark.parametrize("entry", [*ROWS.items(), *SENTENCES.items()], ids=lambda entry: entry[0][:40])
def test_the_named_tests_exist(entry):
    lines = [line.strip().partition(": ") for line in entry[1].strip().splitlines()]
    tests = [(file, f"test_{name}") for file, _, names in lines for name in names.split()]
    assert tests
    assert [(file, name) for file, name in tests if name not in functions(file)] == []
