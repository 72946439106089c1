extern int xshm_placeholder;
int xshm_placeholder;
