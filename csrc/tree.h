/*
 * Removal of a directory tree that somebody hostile made.
 *
 * Any depth and any number of entries, with 24 open directories and no memory that grows.  Never follows a
 * symbolic link, never leaves the tree, never enters a mount.  What cannot be removed stays, with the
 * directories it is in; everything else goes.
 */
#ifndef PC_TREE_H
#define PC_TREE_H

/*
 * Removes `name` (no '/') in the directory `parent`, whatever it is.  With a user namespace (or -1) it is tried
 * once more as root of that namespace, when a permission was missing.  0 when it is gone, or the first -errno.
 */
long pc_tree_remove(int parent, const char *name, int userns);

#endif
