extension String {
    /// Text from a hostile source, cut and cleaned so that it stays one short line.
    ///
    /// - Parameter limit: Scalars that are kept at most; `...` marks a cut.
    public func printable(limit: Int = 80) -> String {
        var result = ""
        for scalar in unicodeScalars {
            guard result.unicodeScalars.count < limit else { return result + "..." }
            let clean = scalar.value >= 0x20 && scalar.properties.generalCategory != .control
            result.unicodeScalars.append(clean ? scalar : "?")
        }
        return result
    }
}
