import Glibc

/// Folders that go when nothing is in them.
public enum EmptyFolder {
    /// Removes a folder in one step, which fails where something is in it by now.
    ///
    /// - Returns: Whether it is gone.
    @discardableResult
    public static func remove(_ path: String) -> Bool { unsafe rmdir(path) == 0 }
}
