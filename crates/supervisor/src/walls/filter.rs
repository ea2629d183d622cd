//! What a process may ask of the kernel: the calls that interpreters and numeric libraries make. What
//! is not listed does not exist for it, so that calls to come are refused, too.

use std::collections::BTreeMap;
use std::io;

use domain::launch::{Sandbox, Walls};
use nix::libc::{self, *};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
};

use super::tried;

/// Of all kinds of processors.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    SYS_accept, SYS_accept4, SYS_bind, SYS_brk, SYS_capget, SYS_capset, SYS_chdir, SYS_clock_getres, SYS_clock_gettime,
    SYS_clock_nanosleep, SYS_clone, SYS_close, SYS_close_range, SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_execve, SYS_execveat, SYS_exit,
    SYS_exit_group, SYS_faccessat, SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fchdir, SYS_fchmod, SYS_fchmodat,
    SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock, SYS_fremovexattr,
    SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_waitv, SYS_get_mempolicy,
    SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getgroups,
    SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority, SYS_getrandom, SYS_getresgid,
    SYS_getresuid, SYS_getrusage, SYS_getsid, SYS_getsockname, SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid,
    SYS_getxattr, SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch, SYS_ioctl, SYS_ioprio_get,
    SYS_ioprio_set, SYS_kill, SYS_landlock_add_rule, SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_lgetxattr,
    SYS_linkat, SYS_listen, SYS_listxattr, SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_madvise,
    SYS_mbind, SYS_membarrier, SYS_memfd_create, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock, SYS_mlock2,
    SYS_mlockall, SYS_mmap, SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive,
    SYS_mq_timedsend, SYS_mq_unlink, SYS_mremap, SYS_msgctl, SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_msync, SYS_munlock,
    SYS_munlockall, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_openat2, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_pipe2, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_ppoll, SYS_prctl, SYS_pread64,
    SYS_preadv, SYS_preadv2, SYS_prlimit64, SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead,
    SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_removexattr, SYS_renameat2,
    SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo,
    SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler,
    SYS_sched_yield, SYS_seccomp, SYS_semctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_sendfile, SYS_sendmmsg,
    SYS_sendmsg, SYS_sendto, SYS_set_mempolicy, SYS_set_robust_list, SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid,
    SYS_setgid, SYS_setgroups, SYS_setitimer, SYS_setpgid, SYS_setpriority, SYS_setregid, SYS_setresgid, SYS_setresuid,
    SYS_setreuid, SYS_setsid, SYS_setsockopt, SYS_setuid, SYS_setxattr, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget,
    SYS_shutdown, SYS_sigaltstack, SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_splice, SYS_statfs, SYS_statx,
    SYS_symlinkat, SYS_sync, SYS_sync_file_range, SYS_syncfs, SYS_sysinfo, SYS_tee, SYS_tgkill, SYS_timer_create,
    SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime, SYS_timerfd_create, SYS_timerfd_gettime,
    SYS_timerfd_settime, SYS_times, SYS_tkill, SYS_truncate, SYS_umask, SYS_uname, SYS_unlinkat, SYS_utimensat,
    SYS_vmsplice, SYS_wait4, SYS_waitid, SYS_write, SYS_writev,
];

/// What one kind of processors has beside them.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create, SYS_epoll_wait,
    SYS_eventfd, SYS_fork, SYS_futimesat, SYS_getdents, SYS_getpgrp, SYS_getrlimit, SYS_inotify_init, SYS_lchown, SYS_link,
    SYS_lstat, SYS_mkdir, SYS_mknod, SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename, SYS_renameat,
    SYS_rmdir, SYS_select, SYS_setrlimit, SYS_signalfd, SYS_stat, SYS_symlink, SYS_time, SYS_unlink, SYS_utime, SYS_utimes,
    SYS_vfork,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[c_long] = &[SYS_renameat];

/// What would change the walls, or see through them. It would be unknown to the process, too, but
/// programs expect to be told that they may not.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    SYS_add_key, SYS_bpf, SYS_chroot, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_keyctl, SYS_mount,
    SYS_mount_setattr, SYS_move_mount, SYS_open_tree, SYS_perf_event_open, SYS_personality, SYS_pidfd_getfd, SYS_pivot_root,
    SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_request_key, SYS_setns, SYS_umount2, SYS_unshare,
    SYS_userfaultfd,
];

/// With one of these a new process has namespaces of its own.
const NAMESPACES: u64 = (libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS) as u64
    & 0xffff_ffff;
/// What is below the flags in the kind of a socket.
const SOCKET_KIND: u64 = 0xf;

/// Calls that change how another process is run, and the argument that names it: 0 is itself.
const OF_OTHERS: [(c_long, u8); 7] = [
    (SYS_ioprio_set, 1),
    (SYS_prlimit64, 0),
    (SYS_sched_setaffinity, 0),
    (SYS_sched_setattr, 0),
    (SYS_sched_setparam, 0),
    (SYS_sched_setscheduler, 0),
    (SYS_setpriority, 1),
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Obeys both filters from now on. A process whose walls are drawn closer later may mount until
/// then, and gets the second filter with that.
pub fn obey(walls: &Walls) -> io::Result<()> {
    let install = |filter: BpfProgram| {
        seccompiler::apply_filter(&filter)
            .map_err(|error| tried("the filter of calls")(io::Error::other(error)))
    };
    install(allowing(walls.narrows)?)?;
    if !walls.narrows {
        install(refusing(walls)?)?;
    }
    Ok(())
}

/// The second filter as the kernel takes it.
pub fn refusing_bytes(walls: &Walls) -> io::Result<Vec<u8>> {
    let filter = refusing(walls)?;
    let instruction = |one: &seccompiler::sock_filter| {
        let mut bytes = one.code.to_ne_bytes().to_vec();
        bytes.extend([one.jt, one.jf]);
        bytes.extend(one.k.to_ne_bytes());
        bytes
    };
    Ok(filter.iter().flat_map(instruction).collect())
}

/// Calls that exist.
fn allowing(may_mount: bool) -> io::Result<BpfProgram> {
    let mount: &[c_long] = if may_mount { &[SYS_mount, SYS_unshare] } else { &[] };
    let calls = ALLOWED.iter().chain(ALLOWED_HERE).chain(mount);
    let rules: Rules = calls.map(|call| (*call, vec![])).collect();
    compiled(rules, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)
}

/// Calls, and forms of calls, that are refused.
fn refusing(walls: &Walls) -> io::Result<BpfProgram> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, vec![])).collect();
    for (call, argument) in OF_OTHERS {
        rules.insert(call, vec![when(&[(argument, Is::Ne, 0)])?]);
    }
    rules.insert(SYS_clone, namespaces()?);
    rules.insert(SYS_socket, sockets(walls)?);
    rules.insert(
        SYS_ioctl,
        vec![when(&[(1, Is::Eq, libc::TIOCSTI)])?, when(&[(1, Is::Eq, TIOCLINUX)])?],
    );
    compiled(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

const TIOCLINUX: u64 = 0x541c;

fn namespaces() -> io::Result<Vec<SeccompRule>> {
    let bits = (0..32).map(|bit| 1_u64 << bit).filter(|bit| NAMESPACES & bit != 0);
    bits.map(|bit| when(&[(0, Is::MaskedEq(bit), bit)])).collect()
}

/// Sockets of the network exist where it is the process's own, and where a program has to listen.
fn sockets(walls: &Walls) -> io::Result<Vec<SeccompRule>> {
    let [unix, inet, inet6, netlink] =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
            .map(|family| family as u64);
    let stream = libc::SOCK_STREAM as u64;
    match (walls.level, walls.port) {
        (Sandbox::Full, _) => Ok(vec![
            when(&[
                (0, Is::Ne, unix),
                (0, Is::Ne, inet),
                (0, Is::Ne, inet6),
                (0, Is::Ne, netlink),
            ])?,
            when(&[(0, Is::Eq, netlink), (2, Is::Ne, 0)])?,
        ]),
        (_, Some(_)) => {
            let mut rules =
                vec![when(&[(0, Is::Ne, unix), (0, Is::Ne, inet), (0, Is::Ne, inet6)])?];
            for kind in (0..=SOCKET_KIND).filter(|kind| *kind != stream) {
                rules.push(when(&[(0, Is::Ne, unix), (1, Is::MaskedEq(SOCKET_KIND), kind)])?);
            }
            Ok(rules)
        }
        (_, None) => Ok(vec![when(&[(0, Is::Ne, unix)])?]),
    }
}

/// Where all of these hold of an argument.
fn when(conditions: &[(u8, Is, u64)]) -> io::Result<SeccompRule> {
    let conditions = conditions
        .iter()
        .map(|(argument, is, value)| Condition::new(*argument, Length::Dword, is.clone(), *value))
        .collect::<Result<Vec<_>, _>>();
    conditions.and_then(SeccompRule::new).map_err(io::Error::other)
}

fn compiled(rules: Rules, otherwise: SeccompAction, then: SeccompAction) -> io::Result<BpfProgram> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, then, here).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}
