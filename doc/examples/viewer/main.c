/* SPDX-License-Identifier: MIT
 *
 * An image viewer in GTK 4 whose pictures are decoded by Perl workers: `afork-viewer [FOLDER|PICTURE]...`
 *
 * What is interesting about it is in these files, from the workers up:
 *     decode.pl            what workers do
 *     viewer-workers.c     template and pools
 *     viewer-pixels.c      from a worker's memory to a texture, without a copy
 *     viewer-thumbnailer.c the desktop's cache, in front of the workers
 *     viewer-tile.c        a tile asks for its thumbnail when it comes into view, and lets go of it
 *     viewer-grid.c        which tiles are in view
 *     viewer-folder.c      a GListModel of any number of files
 */
#include <locale.h>

#include "viewer-application.h"

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    g_autoptr(GtkApplication) application = viewer_application_new();

    return g_application_run(G_APPLICATION(application), argc, argv);
}
