import CFabric
import Glibc

/// Owns a UCX context: the devices this process may use.
@safe struct UCXContext: ~Copyable {
    let handle: ucp_context_h

    /// - Parameter settings: UCX's own names without `UCX_`; one that the user's environment sets
    ///   is left alone.
    init(settings: [(name: String, value: String)]) throws(TransportError) {
        fabric_ucx_quieten()
        var configuration: OpaquePointer?
        try UCXStatus.check("ucp_config_read", unsafe ucp_config_read(nil, nil, &configuration))
        defer { unsafe ucp_config_release(configuration) }
        for setting in settings where unsafe getenv("UCX_\(setting.name)") == nil {
            try UCXStatus.check(
                "ucp_config_modify \(setting.name)=\(setting.value)",
                unsafe ucp_config_modify(configuration, setting.name, setting.value))
        }
        var parameters = unsafe ucp_params_t()
        unsafe parameters.field_mask = UInt64(UCP_PARAM_FIELD_FEATURES.rawValue)
        unsafe parameters.features =
            UInt64(UCP_FEATURE_AM.rawValue) | UInt64(UCP_FEATURE_WAKEUP.rawValue)
        var handle: ucp_context_h?
        try UCXStatus.check(
            "ucp_init",
            unsafe ucp_init_version(
                UInt32(UCP_API_MAJOR), UInt32(UCP_API_MINOR), &parameters, configuration, &handle))
        guard let handle = unsafe handle else { throw .call("ucp_init", status: "no context") }
        unsafe self.handle = handle
    }

    deinit { unsafe ucp_cleanup(handle) }
}

/// Owns a UCX worker. One thread at a time makes its calls: the one with the engine's lock.
@safe struct UCXWorker: ~Copyable {
    let handle: ucp_worker_h
    /// Readable when the armed worker has something to do.
    let eventDescriptor: Int32

    init(context: borrowing UCXContext) throws(TransportError) {
        var parameters = unsafe ucp_worker_params_t()
        unsafe parameters.field_mask = UInt64(UCP_WORKER_PARAM_FIELD_THREAD_MODE.rawValue)
        unsafe parameters.thread_mode = UCS_THREAD_MODE_SERIALIZED
        var handle: ucp_worker_h?
        try UCXStatus.check(
            "ucp_worker_create", unsafe ucp_worker_create(context.handle, &parameters, &handle))
        guard let handle = unsafe handle else {
            throw .call("ucp_worker_create", status: "no worker")
        }
        var descriptor: Int32 = -1
        let status = unsafe ucp_worker_get_efd(handle, &descriptor)
        guard status == UCS_OK else {
            unsafe ucp_worker_destroy(handle)
            throw .call("ucp_worker_get_efd", status: UCXStatus.text(status))
        }
        unsafe self.handle = handle
        eventDescriptor = descriptor
    }

    deinit { unsafe ucp_worker_destroy(handle) }

    /// The address by which others connect.
    borrowing func address() throws(TransportError) -> [UInt8] {
        var address: OpaquePointer?
        var length = 0
        try UCXStatus.check(
            "ucp_worker_get_address", unsafe ucp_worker_get_address(handle, &address, &length))
        defer { unsafe ucp_worker_release_address(handle, address) }
        return unsafe Array(
            UnsafeRawBufferPointer(start: UnsafeRawPointer(address), count: length))
    }

    /// Moves communication forward without blocking; true if anything happened.
    borrowing func progress() -> Bool { unsafe ucp_worker_progress(handle) != 0 }

    /// Prepares to sleep on the event descriptor; false if there is something to do first.
    borrowing func arm() -> Bool { unsafe ucp_worker_arm(handle) == UCS_OK }
}
