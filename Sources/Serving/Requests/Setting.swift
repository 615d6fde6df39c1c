/// A setting of a job file, and what it may be.
enum Setting {
    /// - Throws: `ServingError.configuration` with the name, the value and the limits; a `nan` lies
    ///   outside every range.
    static func check<Value: Comparable>(
        _ name: String, _ value: Value, _ least: Value, _ most: Value
    ) throws(ServingError) {
        guard least <= value, value <= most else {
            throw .configuration(
                message: "\(name) is \(value): it must lie in \(least)...\(most)")
        }
    }
}
