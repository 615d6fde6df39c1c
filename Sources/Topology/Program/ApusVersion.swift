/// The version of this release: of its three programs, its API and its control plane.
///
/// It stands in the ground room because Serving and Cluster both state it and neither imports the
/// other.
public enum ApusVersion {
    /// Major, minor and patch, as semantic versioning counts them.
    public static let current = "0.2.0"
}
