import Glibc

extension Lab {
    /// Removes every lab whose builder was killed: its processes, its namespaces, its record.
    ///
    /// - Returns: A line for each, of what was removed or why it could not be.
    @discardableResult
    public static func removeAbandoned() -> [String] {
        guard geteuid() == 0 else { return [] }
        let records = LabRecords()
        return records.names().compactMap { name in
            do throws(ClusterError) {
                guard let state = try records.read(name), state.isAbandoned else { return nil }
                try Lab(state: state, records: records).down()
                return "removed lab \(name), whose process \(state.owner.pid) is gone"
            } catch {
                // Another process may remove it at the same time.
                guard (try? records.read(name)) != nil else { return nil }
                return "lab \(name), left behind, cannot be removed: \(error)"
            }
        }
    }
}
