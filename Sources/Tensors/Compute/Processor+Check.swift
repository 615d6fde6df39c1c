extension Processor {
    /// Checks what `APUS_CPU` names.
    ///
    /// - Parameters:
    ///   - environment: Of the process.
    ///   - inUse: The level that the kernels use.
    /// - Returns: What a person should know of that level; nil for nothing.
    /// - Throws: `TensorError.level` if the variable names no level.
    public static func check(
        _ environment: [String: String], inUse: Processor = .inUse
    ) throws(TensorError) -> String? {
        if let name = environment["APUS_CPU"] {
            guard let asked = Processor(rawValue: name) else { throw .level(name: name) }
            return asked == inUse
                ? nil : "APUS_CPU is \(name), which this CPU does not have; \(inUse) is used"
        }
        guard inUse == .portable else { return nil }
        return "this CPU has neither AVX2 with FMA nor NEON: products of 64 rows take 10 times as"
            + " long as with AVX2, and 100 times with e4m3 weights (apus bench kernels)"
    }
}
