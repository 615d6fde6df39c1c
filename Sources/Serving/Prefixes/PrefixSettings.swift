/// Where computed prefixes outlive the process.
public struct PrefixSettings: Hashable, Sendable {
    /// The folder, which all ranks of a node share; it is made if it is not there.
    public var folder: String
    /// Bytes that its files may have together.
    public var byteLimit: Int

    /// Keeps prefixes in a folder.
    public init(folder: String, byteLimit: Int) {
        self.folder = folder
        self.byteLimit = byteLimit
    }

    /// Checks the limit, and makes the folder.
    ///
    /// - Throws: `ServingError.configuration` for a folder that cannot be used, or that others may
    ///   read.
    func validate() throws(ServingError) {
        let limits = PrefixFolder.byteLimits
        try Setting.check("prefixBytes", byteLimit, limits.lowerBound, limits.upperBound)
        try PrefixFolder.make(folder)
    }
}
