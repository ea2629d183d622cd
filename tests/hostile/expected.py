"""What becomes of each attack at each level of the sandbox, as data.

`off` is what a model of today can do: it shows that each attack works where nothing keeps it from working. `reduced` is
without namespaces: Landlock and seccomp alone, which have no say in Unix sockets with a path, in stat, chmod and times of
a file by its owner, nor in what /proc tells of others. `full` is with namespaces, too.

`either` leaves to the sandbox what it does; it is never an excuse for an attack that is broken.
"""

POSSIBLE, DENIED, EITHER = "possible", "denied", "either"


def of(names, off=POSSIBLE, reduced=DENIED, full=DENIED):
    return {name: {"off": off, "reduced": reduced, "full": full} for name in names.split()}


EXPECTED = {
    # Files outside.
    **of("read_secret read_source read_keys read_ledger list_data read_sibling_tree read_sibling_home read_sibling_log"),
    **of("symlink_to_secret hard_link_to_secret temporary_of_others kernel_log open_by_handle"),
    **of("write_outside make_directory_outside append_outside rename_outside remove_outside write_through_victim"),
    **of("ledger_write data_write sibling_home_write sibling_log_write sibling_tree_write environment_write interpreter_write shim_write"),
    **of("stat_secret chmod_outside utime_outside set_attribute_outside", reduced=POSSIBLE),
    **of("shared_memory_file shared_memory_create", reduced=EITHER),
    # Its own tree, which is read-only by its modes alone.
    **of("own_tree_write own_tree_create own_tree_link own_tree_rename"),
    **of("own_tree_chmod own_tree_utime", reduced=POSSIBLE),
    **of("own_tree_plain_write", off=DENIED),
    # Other processes.
    **of("victim_environ victim_cwd victim_root victim_descriptor victim_maps victim_memory_file init_root"),
    **of("list_processes victim_cmdline", reduced=POSSIBLE),
    **of("signal_zero signal_stop signal_kill signal_group signal_by_descriptor signal_on_input"),
    **of("ptrace process_vm_readv pidfd_getfd out_of_memory_score"),
    **of("set_priority set_limit set_affinity", reduced=EITHER),
    **of("descriptors_of_others", off=DENIED),
    # Sockets.
    **of("sibling_socket supervisor_socket up_socket path_socket path_socket_descriptor", reduced=POSSIBLE),
    **of("owners_socket sibling_impersonated abstract_socket tcp tcp_fast_open tcp_api tcp_listen"),
    **of("udp raw_socket packet_socket netlink"),
    # The kernel.
    **of("io_uring bpf perf_event userfaultfd keys_of_the_session x32_call"),
    **of("new_user_namespace new_network_namespace namespace_of_victim mount change_root make_device host_name"),
    **of("another_user switch_user own_capabilities new_privileges"),
    **of("core_pattern system_setting hotplug_helper leave_control_group"),
    **of("system_v_memory system_v_list", reduced=EITHER),
    # Another program, which is confined as the one that started it.
    **of("run_program"),
}

#: Made while a model loads, on those who start it and read what it left.
EXPECTED_AT_LOAD = of("failure_link failure_pipe forged_fork forged_child", off=DENIED)

#: What the kernel, its settings, a container or missing rights may refuse to any process: where they do so to one that
#: Decalog has nothing to do with, nothing can be shown here.
DEPENDS = set(
    "io_uring bpf perf_event userfaultfd keys_of_the_session x32_call new_user_namespace new_network_namespace namespace_of_victim "
    "mount change_root make_device host_name another_user switch_user own_capabilities new_privileges core_pattern system_setting "
    "hotplug_helper leave_control_group kernel_log open_by_handle init_root raw_socket packet_socket set_attribute_outside "
    "tcp_fast_open out_of_memory_score ptrace process_vm_readv pidfd_getfd victim_memory_file hard_link_to_secret interpreter_write".split()
)

#: What is refused also where nothing is confined, and so is shown to work by a process of its own.
SHOWN_OUTSIDE = {name for name, levels in EXPECTED.items() if levels["off"] == DENIED}

#: What each language's model tries; all that there is where it is Python.
_COMMON = (
    "read_secret read_ledger list_data read_sibling_tree symlink_to_secret hard_link_to_secret victim_environ victim_cmdline "
    "list_processes shared_memory_file temporary_of_others write_outside remove_outside chmod_outside own_tree_write "
    "signal_zero signal_stop signal_kill tcp tcp_api own_capabilities new_privileges "
)
TRIED = {
    "python": [name for name in EXPECTED if name != "run_program"],
    "node": (_COMMON + "victim_root sibling_socket path_socket udp netlink run_program").split(),
    "r": (_COMMON + "run_program").split(),
    "shell": (
        _COMMON + "victim_root utime_outside sibling_socket path_socket udp system_v_list new_user_namespace mount "
        "namespace_of_victim switch_user core_pattern make_device"
    ).split(),
}
